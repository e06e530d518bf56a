"""One file per dialect. A provider turns a request into a stream of chunk choices; it never sees an account."""
