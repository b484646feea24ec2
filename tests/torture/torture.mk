# What is left when the supervisor, the tree or everything is killed at random instants.
#   make torture [TIME=300] [SEED=N]
.PHONY: torture
torture: $(BUILD)/fuss
	python3 tests/torture/torture.py --fuss $(BUILD)/fuss --time $(or $(TIME),300) --seed $(or $(SEED),0)
