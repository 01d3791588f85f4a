"""The chaos suite: what is promised of a worker, tried by killing, freezing, cutting and restarting the real parts.

One code in two sizes: `make chaos` runs the full counts and writes docs/discussion/chaos.md, pytest runs a small part.
A scenario acts and notes; `verdicts` alone judges, from what was sent, what was seen and who died.
"""
