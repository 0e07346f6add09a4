"""What people do: the event log and store of verdicts, the queue of pairs, and the audit with its intervals."""
