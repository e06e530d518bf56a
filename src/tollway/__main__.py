"""`tollway`, and `python -m tollway`."""

import signal


def main() -> None:
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.default_int_handler:  # else whoever started it wants Ctrl-C to be ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # in the midst of the imports it would end in a traceback
    from tollway.cli import main as command

    signal.signal(signal.SIGINT, interrupted)
    command()


if __name__ == "__main__":
    main()
