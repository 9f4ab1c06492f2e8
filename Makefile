# Two commands do all their own set-up: `make demo` and `make test`.
PY := .venv/bin/python
PYTEST := $(PY) -m pytest
# Some tests need the right to make network namespaces, which root has and
# anybody has in a user namespace of their own.
INSIDE := unshare --user --map-root-user --net --mount
PYTEST_INSIDE := $(INSIDE) $(PY) -m tests.inside
ifeq ($(shell id -u),0)
INSIDE :=
PYTEST_INSIDE := $(PYTEST)
endif

.PHONY: help demo check check-types test test-pure test-simulation test-contract test-kernel test-browser
.PHONY: test-image test-cluster test-whole soak bench simulate
.PHONY: chaos mutants test-root images cluster cluster-down prepare prepare-test clean

help:
	@echo "make demo   start a cluster on this machine and show isolation at work;"
	@echo "            SCREENSHOTS=dir keeps pictures of its page"
	@echo "make test   all tests: format, types, pure, etcd, kernel, cluster"
	@echo "make check  the quick part of it: format, types, import rules, pure tests"
	@echo "make soak   what make test repeats a few times, many times, and the page on holds, command"
	@echo "            by command: up to an hour"
	@echo "make simulate SEED=7"
	@echo "            repeat one schedule of the simulator and print it; N=1000 runs so many;"
	@echo "            WITH='--restores --wipes --adopts' has etcd set back, emptied and adopted"
	@echo "make chaos SEED=7 SECONDS=600"
	@echo "            a real cluster under faults drawn from a seed, every task watched for leaks"
	@echo "make mutants"
	@echo "            plants bugs one by one, each of which a test must catch; BUGS=word some of them"
	@echo "make bench  figures, as ratios against a reference in the same run; PARTS=packets"
	@echo "            or endpoints, policy, agent, latency, dns, attach, opening, hostile makes only these"
	@echo "make images, make cluster, make cluster-down"
	@echo "            with Docker and its registry: the real Mesos and Marathon, docker-compose.yml"

prepare:
	@demo/prepare.sh

prepare-test:
	@demo/prepare.sh test

demo:
	@demo/prepare.sh $(if $(SCREENSHOTS),screenshots)
	@$(PY) -m demo run $(if $(SCREENSHOTS),--screenshots '$(SCREENSHOTS)')

# Types take one processor for long: the pure tests have the other one meanwhile.
check: prepare
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(MAKE) --no-print-directory -j2 --output-sync=target check-types test-pure

check-types: prepare
	$(PY) -m mypy
	.venv/bin/lint-imports --no-logo 2>/dev/null || .venv/bin/lint-imports

test-pure: prepare
	$(PYTEST) -n 2 tests/unit tests/convergence

# The cluster on twins: each seed is a schedule. `make simulate SEED=7` repeats one.
test-simulation: prepare-test
	$(PYTEST) -n 2 tests/simulation

simulate: prepare-test
	$(PY) -m tests.simulation --seed $(or $(SEED),1) --count $(or $(N),1) --jobs $(or $(JOBS),2) \
	    --shrink $(if $(N),,--trace) $(WITH)

# They mostly wait: for time-outs, for leases, for processes to start. One by one, so that
# what takes long is spread over all.
test-contract: prepare-test
	$(PYTEST_INSIDE) -n 6 --dist load --maxschedchunk 1 tests/contract tests/faults

# Each test has a network namespace of its own, and mostly waits.
test-kernel: prepare-test
	$(PYTEST_INSIDE) -n 3 --dist loadfile --no-loadscope-reorder tests/kernel

# Pages, in a headless Chromium.
test-browser: prepare-test
	$(PYTEST) -n 2 --dist loadfile tests/browser

# The image, on a Docker engine of the tests' own.
test-image: prepare-test
	$(PYTEST) tests/image

# Each file has clusters of its own, and mostly waits.
test-cluster: prepare-test
	$(PYTEST) -n 4 --dist loadfile tests/cluster

# The last three at once, so that none waits for the longest of another.
test-whole: prepare-test
	$(PYTEST) -n 4 --dist loadfile --no-loadscope-reorder tests/cluster tests/browser tests/image

# What an ordinary user's run leaves out, and a little of the rest as root.
test-root: prepare-test
	$(PYTEST) -n 4 --dist loadfile --no-loadscope-reorder $(addprefix tests/,image/test_cluster.py image/test_image.py \
	    kernel/test_charts.py kernel/test_docker.py cluster/test_isolation.py \
	    unit/cli/test_credentials.py)

# Every planted bug must be caught by the tests that it names.
mutants: prepare-test
	$(INSIDE) $(PY) -m tests.mutants $(BUGS)

test: prepare-test check test-simulation test-contract test-kernel test-whole

soak: prepare-test
	timeout --foreground 3600 $(PYTEST_INSIDE) --soak -m soak tests

# What happens, and when, is drawn from the seed and printed before the start.
chaos: prepare-test
	$(PY) -m tests.chaos --seed $(or $(SEED),1) --seconds $(or $(SECONDS),600)

bench:
	@demo/prepare.sh bench
	$(INSIDE) $(PY) -m tests.bench $(PARTS)

images:
	@demo/compose/images.sh

cluster: images
	@demo/compose/up.sh

cluster-down:
	@demo/compose/down.sh

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
