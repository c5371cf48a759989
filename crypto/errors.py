"""Errors that a user can act on.

    CarryError                exit 1
    +-- UsageError            exit 2   a flag or an argument is wrong
    +-- SettingsError         exit 3   a key or a value of the settings file is wrong
    +-- DataError             exit 4   market data are missing, malformed or contradictory
    +-- OutputError           exit 5   a result could not be written (full or read-only disk)
    +-- RefusedError          exit 6   the request is well formed but may not be carried out (a pair that can't be
    hedged) +-- InsolventError        exit 7   a simulated wallet lost more than it held

Ctrl-C ends with exit 130. A message names what was wrong (file, row, key, flag, value); the remedy says what to do.
"""

from __future__ import annotations


class CarryError(Exception):
    """Base of every error meant for the user: a message, a remedy and a process exit code."""

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class UsageError(CarryError):
    """A command-line flag or argument is wrong or contradicts another."""

    exit_code = 2


class SettingsError(CarryError):
    """A key or value in the settings file is unknown, missing or out of range."""

    exit_code = 3


class DataError(CarryError):
    """Market data are missing, malformed, contradictory or not there for the asked range."""

    exit_code = 4


class OutputError(CarryError):
    """A file or folder could not be written; nothing half-written was left."""

    exit_code = 5


class RefusedError(CarryError):
    """A well-formed request that may not be carried out, with the reason."""

    exit_code = 6


class InsolventError(CarryError):
    """A simulated wallet's equity fell below zero, which ends a run."""

    exit_code = 7
