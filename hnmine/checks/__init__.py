"""Checks of a training file as each trainer reads it: rules, a report and repairs.

A new rule or trainer is added here. The mining pipeline does not depend on it.
"""
