# The chaos suite; see docs/discussion/chaos.md. `make chaos CHAOS="--scenario kill --broker redis --seed 7"` runs a part.
.PHONY: chaos

chaos: $(VENV)/.dev ## Kill, freeze, cut and restart the real parts, in full counts; writes docs/discussion/chaos.md (an hour or two)
	$(BIN)/python -m tests.chaos --write $(CHAOS)
