# Speed beside the peers; see docs/benchmarks.md. The first run builds the environments of the peers in .bench-cache.
.PHONY: bench bench-full bench-curves bench-quick

bench: $(VENV)/.dev ## Measure Longshore, its peers and the curves; write docs/benchmarks.md (50 minutes at most)
	$(BIN)/python -m tests.bench --size medium --write
	$(BIN)/python -m tests.bench --curves --write

bench-full: $(VENV)/.dev ## The same with trials of 2 seconds and no limit of time (about 75 minutes)
	$(BIN)/python -m tests.bench --size full --write
	$(BIN)/python -m tests.bench --curves --write

bench-curves: $(VENV)/.dev ## The curves alone: payloads, processes, backlogs, delayed messages, queues (12 minutes)
	$(BIN)/python -m tests.bench --curves --write

bench-quick: $(VENV)/.dev ## The main rows in 3 minutes, up to 3 trials each
	$(BIN)/python -m tests.bench --size quick
