# Speed beside the peers; see docs/benchmarks.md. The first run builds the environments of the peers in .bench-cache.
.PHONY: bench bench-quick

bench: $(VENV)/.dev ## Measure Longshore and its peers, and write docs/benchmarks.md with its plots (an hour or two)
	$(BIN)/python -m tests.bench --write

bench-quick: $(VENV)/.dev ## The main rows in 3 minutes, up to 3 trials each
	$(BIN)/python -m tests.bench --size quick
