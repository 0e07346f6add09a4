"""Stub until merged."""


def draw(run):
    pass
