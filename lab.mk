# The real cluster for the tests; see tests/lab. Only the standard library is needed: any Python 3.11 will do.
LAB = PYTHONPATH=$(CURDIR) PYTHONDONTWRITEBYTECODE=1 $(or $(PYTHON),python3) -m tests.lab

.PHONY: lab lab-down lab-image

lab: ## bring the cluster up, with the project's image loaded (KUBECONFIG=.lab/admin.kubeconfig, tools in .lab-bin)
	@$(LAB) up

lab-down: ## take the cluster down
	@$(LAB) down

lab-image: ## build the project's image anew, and load it where the cluster is up
	@$(LAB) image
