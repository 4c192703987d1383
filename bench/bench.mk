# The benchmark: programs, their tests, and what it compares with. Included by the Makefile.

LINK_test_hist = bench/hist
LINK_test_stream = bench/stream ws_frame utf8

BENCH_PROGRAMS = load raw start codecs spread publish
BENCH_load = client polling stream hist process
BENCH_codecs = stream
BENCH_publish = process
BENCH_BUILDS = $(BENCH_PROGRAMS:%=$(BUILD)/bench/%)
BENCH_TESTED = $(BENCH_PROGRAMS:%=$(BUILD)/test/bench/%)
BENCH ?= full
BENCH_quick = --quick
BENCH_socketio = --socketio
BENCH_profile = --profile
PYTHON ?= /usr/bin/python3

.PHONY: bench-programs
bench: deps-bench bench-programs $(BUILD)/bench/lws ## Compare with other servers; BENCH=quick: 2 minutes; BENCH=socketio; BENCH=cluster; BENCH=profile: where the time goes
	$(PYTHON) bench/$(if $(filter cluster,$(BENCH)),cluster.py,run.py) --build $(BUILD) $(BENCH_$(BENCH)) $(BENCH_ARGS)

bench-codecs: $(BUILD)/bench/codecs ## Measure the codecs alone, in GB/s and ns
	$(BUILD)/bench/codecs

attack-cost: minnow ## Measure what an attacker's byte costs the server, in processor time and memory; 1 minute
	@sh tests/need.sh deps-dev python3
	@$(PYTHON) bench/attack_cost.py

bench-programs: $(BUILD)/minnow $(BUILD)/examples/echo $(BENCH_BUILDS)

$(BENCH_BUILDS) $(BENCH_TESTED): %: %.o $$(foreach o,$$(BENCH_$$(notdir $$*)),$$(dir $$*)$$o.o)
	$(call quietly,LD,$@,$(if $(filter $(BUILD)/test/%,$@),$(CC) $(SANITIZE) $(LDFLAGS),$(LINK)) -o $@ $^)

$(BUILD)/bench/codecs $(BUILD)/bench/publish: $(BUILD)/libminnow.a

# The test runs these.
$(BUILD)/test/test_load: | $(BUILD)/test/bench/load $(BUILD)/test/bench/raw $(BUILD)/test/minnow

# Its headers are not clean under our warnings.
$(BUILD)/bench/lws: bench/peers/lws.c
	@mkdir -p $(@D)
	$(call quietly,LD,$@,$(CC) -std=c11 -D_GNU_SOURCE -Wall -O2 -o $@ $< -lwebsockets)

deps-bench: ## Install what the benchmark compares with: libwebsockets, websockets, ws, socket.io, and Redis
	@sh tests/deps.sh libwebsockets-dev python3-websockets gnuplot-nox linux-perf redis-server valgrind
	@command -v node >/dev/null && command -v npm >/dev/null || sh tests/deps.sh nodejs npm
	@test -d bench/node_modules/@socket.io/redis-adapter || npm ci --prefix bench --no-audit --no-fund
