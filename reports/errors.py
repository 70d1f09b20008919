"""What a reader of reports can do something about."""


class ReportError(Exception):
    """A report cannot be made from what is in the sweep folder; the message names the file and the cure."""
