"""An example of a real program: it measures every source file of the running Python's standard library."""
