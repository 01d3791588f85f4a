"""Ties to frameworks and test tools. Nothing here is imported by a program that does not use the framework."""
