"""The one exception a person at the keyboard is meant to read."""


class UserError(Exception):
    """Bad input, told in words: what is wrong, where, why, and what to do about it.

    The command line and a notebook print the message without a traceback; the command line exits with `status`.
    """

    status = 1

    def _render_traceback_(self) -> list[str]:
        """What IPython shows."""
        return [f"{type(self).__name__}: {self}"]
