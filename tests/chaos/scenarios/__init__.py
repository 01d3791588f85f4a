"""The scenarios, one module for each kind of misfortune. Each acts on a stage and returns what `verdicts` found."""
