# The real cluster for the tests; see tests/lab. Only the standard library is needed: any Python 3.11 will do.
LAB = PYTHONPATH=$(CURDIR) PYTHONDONTWRITEBYTECODE=1 $(or $(PYTHON),python3) -m tests.lab

.PHONY: lab lab-down lab-image lab-prepare

lab: ## Bring the cluster up, with the project's image loaded (KUBECONFIG=.lab/admin.kubeconfig, tools in .lab-bin)
	@$(LAB) up

lab-down: ## Take the cluster down
	@$(LAB) down

lab-image: ## Build the project's image anew, and load it where the cluster is up
	@$(LAB) image

lab-prepare: ## Install and build everything that the lab needs; where none is possible, say why and go on
	@$(LAB) prepare
