"""What can go wrong with the local stack; every message is written for the person at the terminal.

StackError
├── HomeUnusable     the data folder can't be used as it is
├── AlreadyRunning   another local stack uses this folder
├── PortTaken        somebody listens where the UI and API should
├── WrongSchema      the database can't be brought to this version's schema
├── WrongModel       the images are indexed with another model than the configured one
└── ServiceFailed    a service could not be started, or died again and again
"""


class StackError(Exception):
    """The stack can't start, or can't go on."""


class HomeUnusable(StackError):
    """The data folder can't be used as it is."""


class AlreadyRunning(StackError):
    """Another local stack uses this folder."""


class PortTaken(StackError):
    """Somebody listens where the UI and API should."""


class WrongSchema(StackError):
    """The database can't be brought to this version's schema."""


class WrongModel(StackError):
    """The images here are indexed with another model than the configured one."""


class ServiceFailed(StackError):
    """A service could not be started, or died again and again."""
