# The benchmark: programs, their tests, and what it compares with. Included by the Makefile.

LINK_test_hist = bench/hist
LINK_test_stream = bench/stream ws_frame utf8

BENCH_PROGRAMS = load raw
BENCH_load = client stream hist process
BENCH_BUILDS = $(BENCH_PROGRAMS:%=$(BUILD)/bench/%)
BENCH_TESTED = $(BENCH_PROGRAMS:%=$(BUILD)/test/bench/%)

$(BENCH_BUILDS) $(BENCH_TESTED): %: %.o $$(foreach o,$$(BENCH_$$(notdir $$*)),$$(dir $$*)$$o.o)
	$(CC) $(if $(filter $(BUILD)/test/%,$@),$(SANITIZE),$(CFLAGS)) $(LDFLAGS) -o $@ $^

# The test runs these two.
$(BUILD)/test/test_load: | $(BUILD)/test/bench/load $(BUILD)/test/bench/raw
