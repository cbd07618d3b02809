"""What all tests need."""

import signal

# A shell that starts a command in the background lets it ignore SIGINT, and its children with it. Processes under test
# have to hear the signals that they are sent, however the tests were started.
signal.signal(signal.SIGINT, signal.default_int_handler)
