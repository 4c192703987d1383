# Tests, fuzzers, lint and the checks of documents. Included by the Makefile.

TESTS = $(patsubst %.c,%,$(notdir $(wildcard tests/test_*.c socketio/tests/test_*.c check/tests/test_*.c)))
SANITIZE = -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

# --- what each links -------------------------------------------------------------------------------

# A unit test links only what its module names: a call that is not among these fails to link. A file that
# calls ws.h links the core.
LINK_test_sha1 = sha1
LINK_test_base64 = base64
LINK_test_siphash = siphash
LINK_test_utf8 = utf8
LINK_test_ws_frame = ws_frame
LINK_test_ws_message = ws_message ws_frame utf8
LINK_test_ws_str = ws_str
LINK_test_http = http ws_str
LINK_test_http_date = http_date
LINK_test_http_upgrade = http_upgrade http ws_str sha1 base64
MEMORY = account block
LINK_test_block =
LINK_test_account = $(MEMORY) tests/oom
LINK_test_table = table siphash $(MEMORY) tests/oom
LINK_test_host = host $(LINK_test_table)
LINK_test_buf = buf $(MEMORY) tests/oom
LINK_test_timer = timer
LINK_test_output = output buf $(MEMORY) tests/oom
LINK_test_log_limit = log_limit
LINK_test_conn_table = conn_table tests/oom
LINK_test_input = input buf $(MEMORY) tests/oom
LINK_test_conn_output = conn_output conn_trace conn_socket server ws_services listen $(PURE) block tests/oom
LINK_test_room = room $(LINK_test_host)
LINK_test_listen = listen tests/faults tests/raw_client
LINK_test_server = $(CORE) tests/server_fixture tests/raw_client
LINK_test_conn = $(LINK_test_server)
LINK_test_conn_http = $(LINK_test_server)
LINK_test_conn_body = $(LINK_test_server)
LINK_test_conn_ws = $(LINK_test_server)
LINK_test_minnow = tests/process tests/raw_client
LINK_test_minnow_log = program/minnow_log
LINK_test_minnow_options = program/minnow_options program/minnow_log $(CORE)
LINK_test_examples = tests/process tests/raw_client
LINK_test_faults = $(LINK_test_server) tests/oom tests/faults
LINK_test_eio_codec = socketio/eio_codec $(CORE)
LINK_test_eio_host_sessions = socketio/eio_host_sessions socketio/name_table $(CORE)
LINK_test_settle = socketio/settle
LINK_test_eio_queue = socketio/eio_queue $(CORE) tests/oom
LINK_test_engineio = $(filter socketio/eio_% socketio/engineio,$(SOCKETIO)) socketio/name_table \
    socketio/settle socketio/tests/engine_fixture $(LINK_test_server)
LINK_test_eio_http = $(LINK_test_engineio)
LINK_test_eio_polling = $(LINK_test_engineio)
LINK_test_eio_post = $(LINK_test_engineio) tests/oom
LINK_test_eio_upgrade = $(LINK_test_engineio)
LINK_test_eio_session = $(LINK_test_engineio) tests/oom
LINK_test_eio_output = $(LINK_test_engineio) tests/oom
LINK_test_eio_faults = $(LINK_test_engineio) tests/oom tests/faults
LINK_test_socketio = $(SOCKETIO) socketio/tests/sio_fixture socketio/tests/engine_fixture \
    $(LINK_test_server) tests/oom
LINK_test_sio_socket = $(LINK_test_socketio)
LINK_test_sio_room = $(LINK_test_socketio)
LINK_test_sio_emit = $(LINK_test_socketio)
LINK_test_sio_recovery = $(LINK_test_socketio)
LINK_test_json = socketio/json $(CORE) tests/oom
LINK_test_name_table = socketio/name_table $(CORE)
LINK_test_sio_packet = socketio/sio_packet socketio/json $(CORE)
LINK_test_wire = check/wire
LINK_test_annotate = check/annotate check/report_escape check/wire
LINK_test_report = $(filter check/report%,$(CHECK)) check/annotate check/run check/script check/wire
# So does a fuzzer, by the same names.
FUZZERS = $(patsubst %.c,%,$(notdir $(wildcard tests/fuzz/fuzz_*.c socketio/tests/fuzz/fuzz_*.c)))
FUZZ_CC ?= clang
FUZZ_SECONDS ?= 20

# --- how they are built and run --------------------------------------------------------------------

OOM_WRAP = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free
FAULTS_WRAP = -Wl,--wrap=accept4,--wrap=recv,--wrap=readv,--wrap=epoll_wait,--wrap=getrandom \
    -Wl,--wrap=send,--wrap=sendmsg,--wrap=epoll_ctl,--wrap=clock_gettime \
    -Wl,--wrap=socket,--wrap=bind,--wrap=listen,--wrap=unlinkat,--wrap=fchmod,--wrap=fchmodat \
    -Wl,--wrap=fstatat,--wrap=getaddrinfo,--wrap=freeaddrinfo

test: $(TESTS:%=$(BUILD)/test/%) $(FUZZERS:%=$(BUILD)/test/%) ## Run all tests under AddressSanitizer and UBSan
	@BUILD=$(BUILD) sh tests/run.sh $(TESTS:%=$(BUILD)/test/%) $(FUZZERS:%=$(BUILD)/test/%)

# The object of a test or fuzzer, wherever its source is.
home = $(patsubst %.c,%.o,$(wildcard $(addsuffix $(1).c,tests/ tests/fuzz/ socketio/tests/ \
    socketio/tests/fuzz/ check/tests/)))

.SECONDEXPANSION:
$(TESTS:%=$(BUILD)/test/%): $(BUILD)/test/%: $(BUILD)/test/$$(call home,$$*) \
        $$(addsuffix .o,$$(addprefix $(BUILD)/test/,$$(LINK_$$*)))
	$(call quietly,LD,$@,$(CC) $(SANITIZE) $(LDFLAGS) $(if $(filter %/oom.o,$^),$(OOM_WRAP)) \
	    $(if $(filter %/faults.o,$^),$(FAULTS_WRAP)) -pthread -o $@ $^ -lcmocka)

# A fuzzer's objects in a directory: those of the core that the test of the same name needs.
fuzzed = $(addsuffix .o,$(addprefix $(1)/,$(filter-out tests/%,$(LINK_$(2:fuzz_%=test_%)))))

$(FUZZERS:%=$(BUILD)/test/%): $(BUILD)/test/%: $(BUILD)/test/$$(call home,$$*) \
        $(BUILD)/test/tests/fuzz/main.o $$(call fuzzed,$(BUILD)/test,$$*)
	$(call quietly,LD,$@,$(CC) $(SANITIZE) $(LDFLAGS) -o $@ $^)

$(FUZZERS:%=$(BUILD)/fuzz/%): $(BUILD)/fuzz/%: $(BUILD)/fuzz/$$(call home,$$*) \
        $$(call fuzzed,$(BUILD)/fuzz,$$*)
	$(call quietly,LD,$@,$(FUZZ_CC) $(SANITIZE) -fsanitize=fuzzer $(LDFLAGS) -o $@ $^)

$(BUILD)/fuzz/%.o: %.c | need-clang
	@mkdir -p $(@D)
	$(call quietly,CC,$<,$(FUZZ_CC) $(STANDARD) $(CPPFLAGS) $(SANITIZE) -fsanitize=fuzzer-no-link -c -o $@ $<)

fuzz: $(FUZZERS:%=$(BUILD)/fuzz/%) ## Run each fuzzer for FUZZ_SECONDS, 20 by default; needs clang
	@BUILD=$(BUILD) FUZZ_SECONDS=$(FUZZ_SECONDS) sh tests/fuzz/run.sh $(FUZZERS:fuzz_%=%)

# The list of its tests is made of a test's source; tests/unit.h says how.
LISTS = $(patsubst %.c,$(BUILD)/test/%.list,$(wildcard tests/test_*.c socketio/tests/test_*.c \
    check/tests/test_*.c))
$(LISTS:%.list=%.o): %.o: %.list

$(BUILD)/test/%.list: %.c tests/list.sh
	@mkdir -p $(@D)
	@sh tests/list.sh $< > $@

$(BUILD)/test/%.o: %.c $(BUILD)/flags | need-cmocka
	@mkdir -p $(@D)
	$(call quietly,CC,$<,$(CC) $(STANDARD) -I$(BUILD)/test $(CPPFLAGS) $(SANITIZE) -c -o $@ $<)

# Whole programs are tested as processes, with sanitizers like all else.
$(BUILD)/test/test_minnow: | $(BUILD)/test/minnow
$(BUILD)/test/test_examples: | $(EXAMPLES:%=$(BUILD)/test/examples/%)

$(BUILD)/test/minnow: $(PROGRAM:%=$(BUILD)/test/%.o) $(BUILD)/page.o \
        $(CORE:%=$(BUILD)/test/%.o) $(SOCKETIO:%=$(BUILD)/test/%.o)
	$(call quietly,LD,$@,$(CC) $(SANITIZE) $(LDFLAGS) -pthread -o $@ $^)

$(BUILD)/test/examples/%: $(BUILD)/test/examples/%.o $(CORE:%=$(BUILD)/test/%.o) \
        $(SOCKETIO:%=$(BUILD)/test/%.o)
	$(call quietly,LD,$@,$(CC) $(SANITIZE) $(LDFLAGS) -pthread -o $@ $^)

# wscheck, and what it is tested on: a server that is broken on demand.
$(BUILD)/test/wscheck: $(CHECK:%=$(BUILD)/test/%.o)
	$(call quietly,LD,$@,$(CC) $(SANITIZE) $(LDFLAGS) -o $@ $^)

BROKEN = $(patsubst %.c,%,$(wildcard check/tests/broken*.c))
$(BUILD)/test/broken: $(BROKEN:%=$(BUILD)/test/%.o) $(BUILD)/test/check/wire.o
	$(call quietly,LD,$@,$(CC) $(SANITIZE) $(LDFLAGS) -pthread -o $@ $^)

# What the official test suites of Engine.IO and Socket.IO expect to find at their port.
tests/e2e/suite_server: $(BUILD)/tests/e2e/suite_server.o $(BUILD)/libminnow.a
	$(call quietly,LD,$@,$(CC) $(CFLAGS) $(LTO) $(LDFLAGS) -pthread -o $@ $^)

# What the tests with real Socket.IO clients talk to.
$(BUILD)/tests/e2e/sio_server: $(BUILD)/tests/e2e/sio_server.o $(BUILD)/libminnow.a
	$(call quietly,LD,$@,$(CC) $(CFLAGS) $(LTO) $(LDFLAGS) -pthread -o $@ $^)

# A missing tool or header is named in one line, before the compiler complains.
need-cmocka:
	@CC="$(CC) $(CPPFLAGS)" sh tests/need.sh deps cmocka.h

need-clang:
	@sh tests/need.sh deps-dev $(FUZZ_CC)
.PHONY: need-cmocka need-clang

deps: ## Install what the tests need (cmocka) when it is missing
	@sh tests/deps.sh libcmocka-dev

deps-dev: ## Install what lint, the clang build and the static build need
	@sh tests/deps.sh libcmocka-dev git clang libclang-rt-14-dev clang-format clang-tidy cppcheck musl-tools \
	    libwebsockets-dev python3 strace

deps-e2e: ## Install what the end-to-end tests need: Chromium, curl, node and its packages
	@sh tests/deps.sh chromium curl ca-certificates python3-websockets fonts-liberation \
	    fonts-noto-color-emoji \
	    $$(command -v node >/dev/null || echo nodejs) $$(command -v npm >/dev/null || echo npm)
	@cd tests/e2e && npm ci --ignore-scripts --no-audit --no-fund --silent

e2e: minnow $(BUILD)/tests/e2e/sio_server $(EXAMPLES:%=$(BUILD)/examples/%) ## Run the tests with real clients: Chromium, node, npm's and Python's WebSocket, curl
	@sh tests/need.sh deps-e2e node curl python3 $(or $(CHROMIUM),chromium)
	@[ -d tests/e2e/node_modules ] || { echo "e2e: make deps-e2e comes first" >&2; exit 1; }
	@node --test --test-reporter=./tests/e2e/reporter.js $(wildcard tests/e2e/test_*.js)

screenshot: minnow ## Take the pictures of the documents anew: a chat, the network panel of Chromium
	@node tests/e2e/screenshot.js docs/chat.png
	@node tests/e2e/network_panel.js learn/figures/network-panel.png

conformance: ## Check that the documents name what there is, and that translations keep the structure
	@sh tests/need.sh deps-dev python3
	@python3 tests/translations.py
	@sh tests/conformance.sh docs/rfc6455.md
	@sh tests/conformance.sh docs/security.md
	@sh tests/allocations.sh
	@sh tests/names.sh

lint: conformance $(patsubst %,$(PACKED)/%.o,$(CORE) $(SOCKETIO)) $(LISTS) ## Check format, layers and what clang-tidy and cppcheck find
	@sh tests/need.sh deps-dev clang clang-format clang-tidy cppcheck git nm cmocka.h libwebsockets.h
	@OBJECTS=$(PACKED) LISTS=$(BUILD)/test PURE="$(PURE)" CORE="$(CORE)" SOCKETIO="$(SOCKETIO)" sh tests/lint.sh

test-static: static $(BUILD)/test/test_minnow ## Run the tests of the program on the static build
	@MINNOW=$(BUILD)/static/minnow sh tests/run.sh $(BUILD)/test/test_minnow

check-minnow: minnow wscheck ## Grade ./minnow with wscheck: all cases pass
	@sh tests/need.sh deps-dev python3
	@python3 check/peers.py --strict --failures minnow

check-peers: minnow wscheck deps-bench deps-e2e $(BUILD)/bench/lws ## Show what other servers score
	@python3 check/peers.py

test-learn: wscheck minnow ## Show that each step of the course keeps its promise, and its chapter says what is so
	@sh tests/need.sh deps-dev python3 strace bash
	@python3 learn/check.py --cc "$(CC)"
	@python3 learn/captures.py
	@python3 learn/figures.py
	@python3 learn/walkthrough.py

test-wscheck: $(BUILD)/test/wscheck $(BUILD)/test/broken ## Show that each case of wscheck fails on a server that does it wrong
	@sh tests/need.sh deps-dev python3
	@python3 check/tests/honest.py $^

test-networks: minnow ## Run minnow over bad networks: delay, loss, reordering, slow lines, pulled cables; needs root
	@sh tests/need.sh deps-dev python3
	@python3 tests/networks/run.py

MINUTES ?= 30
soak: minnow $(BUILD)/tests/e2e/sio_server ## Run servers with 2,000 clients of all kinds for MINUTES, 30 by default
	@sh tests/need.sh deps-dev python3
	@python3 tests/soak.py --minutes $(MINUTES) --recovery $(BUILD)/tests/e2e/sio_server

test-install: all ## Check that what is installed works, wherever it is
	@MAKE="$(MAKE)" CC="$(CC)" sh tests/install.sh

bare-machine: ## Check that the README's commands work on a new Debian; needs root, debootstrap and 15 minutes
	@sh tests/bare_machine.sh
