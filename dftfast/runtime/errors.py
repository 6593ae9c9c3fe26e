"""What ends a command in one line, and with which exit status."""


class UserError(Exception):
    """Something that the user can put right (status 2).

    The message says what, where (file, line, field) and what to do.
    """


class TrainingStopped(Exception):
    """A run that must not or cannot go on (status 3): diverged, or the disk is full.

    What it has saved is intact.
    """


class Diverged(TrainingStopped):
    """The weights in training are of no more use; a phase of DFT is given up for the one before."""


class Interrupted(KeyboardInterrupt):
    """Stopped on request, at a point that the same command continues from.

    The status is 75, the system's EX_TEMPFAIL.
    """
