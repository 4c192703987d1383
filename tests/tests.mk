# Tests, fuzzers, lint and the checks of documents. Included by the Makefile.

TESTS = $(patsubst %.c,%,$(notdir $(wildcard tests/test_*.c socketio/tests/test_*.c cluster/tests/test_*.c \
    check/tests/test_*.c)))
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
LINK_test_address = address ws_str
LINK_test_rate = rate
LINK_test_http_host = http_host http address ws_str
LINK_test_forwarded = forwarded http address ws_str
LINK_test_proxy_protocol = proxy_protocol address ws_str
LINK_test_http_upgrade = http_upgrade sha1 base64 $(LINK_test_http_host)
MEMORY = account block
LINK_test_block =
LINK_test_account = $(MEMORY) tests/oom
LINK_test_table = table siphash $(MEMORY) tests/oom
LINK_test_host = host rate $(LINK_test_table)
LINK_test_buf = buf $(MEMORY) tests/oom
LINK_test_timer = timer
LINK_test_output = output buf $(MEMORY) tests/oom
LINK_test_log_limit = log_limit
LINK_test_conn_table = conn_table tests/oom
LINK_test_input = input buf $(MEMORY) tests/oom
LINK_test_conn_output = conn_output conn_trace conn_socket server ws_services listen $(PURE) block tests/oom
LINK_test_room = room $(LINK_test_host)
LINK_test_listen = listen address ws_str tests/faults tests/raw_client
LINK_test_server = $(CORE) tests/server_fixture tests/raw_client
LINK_test_conn = $(LINK_test_server)
LINK_test_conn_http = $(LINK_test_server)
LINK_test_conn_client = $(LINK_test_server)
LINK_test_handover = $(LINK_test_server) tests/oom
LINK_test_conn_body = $(LINK_test_server)
LINK_test_conn_defer = $(LINK_test_server)
LINK_test_conn_ws = $(LINK_test_server)
LINK_test_minnow = tests/process tests/raw_client
LINK_test_minnow_workers = tests/process tests/raw_client
LINK_test_attacks = tests/process tests/raw_client
LINK_test_minnow_log = program/minnow_log
LINK_test_minnow_landlock = $(LINK_test_minnow_options) cluster/redis_lookup
LINK_test_minnow_seccomp =
LINK_test_minnow_options = program/minnow_options program/minnow_user program/minnow_log cluster/redis_url \
    $(CORE)
LINK_test_examples = tests/process tests/raw_client
LINK_test_faults = $(LINK_test_server) tests/oom tests/faults
LINK_test_campaign = $(LIBRARY) tests/calls tests/peers
LINK_test_eio_codec = socketio/eio_codec $(CORE)
LINK_test_eio_host_sessions = socketio/eio_host_sessions cluster/name_table $(CORE)
LINK_test_settle = socketio/settle
LINK_test_eio_queue = socketio/eio_queue $(CORE) tests/oom
LINK_test_engineio = $(filter socketio/eio_% socketio/engineio,$(SOCKETIO)) cluster/name_table \
    socketio/settle socketio/tests/engine_fixture $(LINK_test_server)
LINK_test_eio_http = $(LINK_test_engineio)
LINK_test_eio_handover = $(LINK_test_engineio)
LINK_test_eio_waits = $(LINK_test_engineio) tests/oom
LINK_test_eio_polling = $(LINK_test_engineio)
LINK_test_eio_post = $(LINK_test_engineio) tests/oom
LINK_test_eio_upgrade = $(LINK_test_engineio)
LINK_test_eio_session = $(LINK_test_engineio) tests/oom
LINK_test_eio_output = $(LINK_test_engineio) tests/oom
LINK_test_eio_faults = $(LINK_test_engineio) tests/oom tests/faults
LINK_test_socketio = $(CLUSTER) $(SOCKETIO) socketio/tests/sio_fixture socketio/tests/engine_fixture \
    $(LINK_test_server) tests/oom
LINK_test_sio_socket = $(LINK_test_socketio)
LINK_test_sio_parser = $(LINK_test_socketio)
LINK_test_sio_room = $(LINK_test_socketio)
LINK_test_sio_emit = $(LINK_test_socketio)
LINK_test_sio_recovery = $(LINK_test_socketio)
LINK_test_sio_cluster = $(LINK_test_socketio) socketio/tests/cluster_fixture cluster/tests/loop_bus tests/faults
LINK_test_json = socketio/json $(CORE) tests/oom
LINK_test_msgpack = socketio/msgpack socketio/json $(CORE) tests/oom
LINK_test_sio_adapter = socketio/sio_adapter socketio/msgpack socketio/sio_packet socketio/json $(CORE) tests/oom
LINK_test_sio_msgpack = socketio/sio_msgpack $(filter-out socketio/sio_adapter,$(LINK_test_sio_adapter))
LINK_test_name_table = cluster/name_table $(CORE)
LINK_test_sio_packet = socketio/sio_packet socketio/json $(CORE)
LINK_test_resp = cluster/resp ws_str
LINK_test_bus_link = cluster/bus_link $(LINK_test_server) tests/oom
LINK_test_bus_local = $(CLUSTER) $(LINK_test_server) tests/oom
LINK_test_bus_local_faults = $(CLUSTER) $(CORE) tests/calls
LINK_test_redis_lookup = cluster/redis_lookup tests/calls
LINK_test_redis_url = cluster/redis_url ws_str
LINK_test_bus_redis = $(CLUSTER) $(CORE) tests/oom
LINK_test_ws_cluster = cluster/ws_cluster cluster/tests/loop_bus cluster/bus cluster/name_table \
    $(CORE) tests/raw_client tests/oom
LINK_test_bus_faults = $(CLUSTER) $(CORE) tests/calls
LINK_test_bus = cluster/bus cluster/name_table cluster/tests/loop_bus $(CORE) tests/oom
LINK_test_wire = check/wire
LINK_test_annotate = check/annotate check/report_escape check/wire
LINK_test_report = $(filter check/report%,$(CHECK)) check/annotate check/run check/script check/wire
# So does a fuzzer, by the same names; three are of whole servers.
LINK_fuzz_conn = $(CORE) tests/actions tests/calls tests/peers
LINK_fuzz_sio = $(LINK_fuzz_conn) $(CLUSTER) $(SOCKETIO)
LINK_fuzz_sio_bus = $(LINK_fuzz_sio) cluster/tests/loop_bus
FUZZERS = $(patsubst %.c,%,$(notdir $(wildcard tests/fuzz/fuzz_*.c socketio/tests/fuzz/fuzz_*.c \
    cluster/tests/fuzz/fuzz_*.c)))
FUZZ_CC ?= clang
SECONDS ?= 20
FUZZ_SECONDS ?= $(SECONDS)

# --- how they are built and run --------------------------------------------------------------------

OOM_WRAP = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free
FAULTS_WRAP = -Wl,--wrap=accept4,--wrap=recv,--wrap=readv,--wrap=epoll_wait,--wrap=getrandom \
    -Wl,--wrap=send,--wrap=sendmsg,--wrap=epoll_ctl,--wrap=clock_gettime \
    -Wl,--wrap=socket,--wrap=bind,--wrap=listen,--wrap=unlinkat,--wrap=fchmod,--wrap=fchmodat \
    -Wl,--wrap=fstatat,--wrap=getaddrinfo,--wrap=freeaddrinfo,--wrap=eventfd_write

# All by which the product reaches the system, and all that allocates; tests/imports.sh looks whether
# it is complete.
CALLS = malloc calloc realloc free mmap mremap munmap madvise accept4 bind close connect epoll_create1 \
    epoll_ctl epoll_wait eventfd eventfd_write fchmod fchmodat fcntl flock fstatat getaddrinfo getpeername \
    getrandom getrlimit getsockname ioctl listen open poll pthread_create read readv recv recvmsg send sendmsg \
    setsockopt shutdown socket socketpair timerfd_create timerfd_settime unlinkat clock_gettime
CALLS_WRAP = $(CALLS:%=-Wl,--wrap=%)
PRODUCT = $(patsubst %,$(BUILD)/test/%.o,$(LIBRARY))

test: $(TESTS:%=$(BUILD)/test/%) $(FUZZERS:%=$(BUILD)/test/%) $(PRODUCT) ## Run all tests under AddressSanitizer and UBSan
	@CALLS="$(CALLS)" sh tests/imports.sh $(PRODUCT)
	@BUILD=$(BUILD) RUN="$(RUN)" sh tests/run.sh $(TESTS:%=$(BUILD)/test/%) $(FUZZERS:%=$(BUILD)/test/%)

# The object of a test or fuzzer, wherever its source is.
home = $(patsubst %.c,%.o,$(wildcard $(addsuffix $(1).c,tests/ tests/fuzz/ socketio/tests/ \
    socketio/tests/fuzz/ cluster/tests/ cluster/tests/fuzz/ check/tests/)))

.SECONDEXPANSION:
$(TESTS:%=$(BUILD)/test/%): $(BUILD)/test/%: $(BUILD)/test/$$(call home,$$*) \
        $$(addsuffix .o,$$(addprefix $(BUILD)/test/,$$(LINK_$$*) $(if $(SHIM),tests/cmocka)))
	$(call quietly,LD,$@,$(CC) $(SANITIZE) $(LDFLAGS) $(if $(filter %/oom.o,$^),$(OOM_WRAP)) \
	    $(if $(filter %/faults.o,$^),$(FAULTS_WRAP)) $(if $(filter %/calls.o,$^),$(CALLS_WRAP)) \
	    -pthread -o $@ $^ $(if $(SHIM),,-lcmocka))

# A fuzzer's objects in a directory: those of the core that the test of the same name needs.
fuzzed = $(addsuffix .o,$(addprefix $(1)/,$(filter-out tests/%,$(LINK_$(2:fuzz_%=test_%))) $(LINK_$(2))))

$(FUZZERS:%=$(BUILD)/test/%): $(BUILD)/test/%: $(BUILD)/test/$$(call home,$$*) \
        $(BUILD)/test/tests/fuzz/main.o $$(call fuzzed,$(BUILD)/test,$$*)
	$(call quietly,LD,$@,$(CC) $(SANITIZE) $(LDFLAGS) $(if $(filter %/calls.o,$^),$(CALLS_WRAP)) -o $@ $^)

$(FUZZERS:%=$(BUILD)/fuzz/%): $(BUILD)/fuzz/%: $(BUILD)/fuzz/$$(call home,$$*) \
        $$(call fuzzed,$(BUILD)/fuzz,$$*)
	$(call quietly,LD,$@,$(FUZZ_CC) $(SANITIZE) -fsanitize=fuzzer $(LDFLAGS) \
	    $(if $(filter %/calls.o,$^),$(CALLS_WRAP)) -o $@ $^)

$(BUILD)/fuzz/%.o: %.c | need-clang
	@mkdir -p $(@D)
	$(call quietly,CC,$<,$(FUZZ_CC) $(STANDARD) $(CPPFLAGS) $(SANITIZE) -fsanitize=fuzzer-no-link -c -o $@ $<)

fuzz: $(FUZZERS:%=$(BUILD)/fuzz/%) ## Run each fuzzer for SECONDS, 20 by default; needs clang
	@BUILD=$(BUILD) FUZZ_SECONDS=$(FUZZ_SECONDS) sh tests/fuzz/run.sh $(FUZZERS:fuzz_%=%)

# Once as the tests are, once with blocks that are mapped, as in the release; and the program itself.
campaign: $(BUILD)/test/test_campaign minnow ## Let each call of scripted sessions, and of the program, fail in each way, one at a time; takes 2 minutes
	@sh tests/need.sh deps-dev python3 strace
	@CAMPAIGN=all $<
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/mapped CPPFLAGS="-DBLOCK_MAPS=1 $(CPPFLAGS)" \
	    $(BUILD)/mapped/test/test_campaign
	@CAMPAIGN=all $(BUILD)/mapped/test/test_campaign
	@python3 tests/program_faults.py ./minnow echo -p 0
	@python3 tests/program_faults.py ./minnow echo -p 0 --no-sandbox
	@dir=$$(mktemp -d) && chmod 755 $$dir && python3 tests/program_faults.py ./minnow -p 0 --no-sandbox \
	    --bind 127.0.0.1 --bind unix:$$dir/socket $$([ "$$(id -u)" -ne 0 ] || echo --user nobody); \
	    status=$$?; rm -f $$dir/socket; rmdir $$dir; exit $$status

# The list of its tests is made of a test's source; tests/unit.h says how.
LISTS = $(patsubst %.c,$(BUILD)/test/%.list,$(wildcard tests/test_*.c socketio/tests/test_*.c \
    cluster/tests/test_*.c check/tests/test_*.c))
$(LISTS:%.list=%.o): %.o: %.list

$(BUILD)/test/%.list: %.c tests/list.sh
	@mkdir -p $(@D)
	@sh tests/list.sh $< > $@

$(BUILD)/test/%.o: %.c $(BUILD)/flags | need-cmocka
	@mkdir -p $(@D)
	$(call quietly,CC,$<,$(CC) $(STANDARD) -I$(BUILD)/test $(CPPFLAGS) $(SANITIZE) -c -o $@ $<)

# Whole programs are tested as processes, with sanitizers like all else.
$(BUILD)/test/test_minnow $(BUILD)/test/test_minnow_workers $(BUILD)/test/test_attacks: | $(BUILD)/test/minnow
$(BUILD)/test/test_examples: | $(EXAMPLES:%=$(BUILD)/test/examples/%)

$(BUILD)/test/minnow: $(PROGRAM:%=$(BUILD)/test/%.o) $(BUILD)/page.o \
        $(LIBRARY:%=$(BUILD)/test/%.o)
	$(call quietly,LD,$@,$(CC) $(SANITIZE) $(LDFLAGS) -pthread -o $@ $^)

$(BUILD)/test/examples/%: $(BUILD)/test/examples/%.o $(LIBRARY:%=$(BUILD)/test/%.o)
	$(call quietly,LD,$@,$(CC) $(SANITIZE) $(LDFLAGS) -pthread -o $@ $^)

# wscheck, and what it is tested on: a server that is broken on demand.
$(BUILD)/test/wscheck: $(CHECK:%=$(BUILD)/test/%.o)
	$(call quietly,LD,$@,$(CC) $(SANITIZE) $(LDFLAGS) -o $@ $^)

BROKEN = $(patsubst %.c,%,$(wildcard check/tests/broken*.c))
$(BUILD)/test/broken: $(BROKEN:%=$(BUILD)/test/%.o) $(BUILD)/test/check/wire.o
	$(call quietly,LD,$@,$(CC) $(SANITIZE) $(LDFLAGS) -pthread -o $@ $^)

# What the official test suites of Engine.IO and Socket.IO expect to find at their port.
tests/e2e/suite_server: $(BUILD)/tests/e2e/suite_server.o $(BUILD)/libminnow.a
	$(call quietly,LD,$@,$(LINK) -pthread -o $@ $^)

# What the tests with real Socket.IO clients talk to.
$(BUILD)/tests/e2e/sio_server: $(BUILD)/tests/e2e/sio_server.o $(BUILD)/libminnow.a
	$(call quietly,LD,$@,$(LINK) -pthread -o $@ $^)

# And a bus over Redis at the command line.
$(BUILD)/tests/e2e/bus_client: $(BUILD)/tests/e2e/bus_client.o $(BUILD)/libminnow.a
	$(call quietly,LD,$@,$(LINK) -pthread -o $@ $^)

# A server in a cluster with Node's.
$(BUILD)/tests/e2e/cluster_server: $(BUILD)/tests/e2e/cluster_server.o $(BUILD)/libminnow.a
	$(call quietly,LD,$@,$(LINK) -pthread -o $@ $^)

# What is compared with Node's MessagePack, and with the messages of its adapters.
$(BUILD)/tests/e2e/%_filter: $(BUILD)/tests/e2e/%_filter.o $(BUILD)/libminnow.a
	$(call quietly,LD,$@,$(LINK) -pthread -o $@ $^)

# Many sessions of Socket.IO on polling.
$(BUILD)/tests/e2e/polling_load: $(BUILD)/tests/e2e/polling_load.o
	$(call quietly,LD,$@,$(LINK) -o $@ $^)

# A missing tool or header is named in one line, before the compiler complains.
need-cmocka:
	@CC="$(if $(SHIM),cc,$(CC)) $(CPPFLAGS)" sh tests/need.sh deps cmocka.h

need-clang:
	@sh tests/need.sh deps-dev $(FUZZ_CC)
.PHONY: need-cmocka need-clang

deps: ## Install what the tests need (cmocka) when it is missing
	@sh tests/deps.sh libcmocka-dev

deps-dev: ## Install what lint, the clang build and the static build need
	@sh tests/deps.sh libcmocka-dev git clang libclang-rt-14-dev clang-format clang-tidy cppcheck musl-tools \
	    libwebsockets-dev python3 strace

deps-arch: ## Install what compiles for aarch64 and emulates it
	@sh tests/deps.sh gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user

# gcc-multilib itself cannot stand beside a compiler for s390x.
deps-analysis: ## Install what coverage, valgrind, analyze, test-32 and test-big-endian need
	@sh tests/deps.sh libcmocka-dev gcc clang clang-tools llvm valgrind gcc-$$(gcc -dumpversion)-multilib \
	    gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user

deps-e2e: ## Install what the end-to-end tests need: Chromium, curl, Redis, nginx, HAProxy, node and its packages
	@sh tests/deps.sh chromium curl ca-certificates python3-websockets fonts-liberation \
	    fonts-noto-color-emoji redis-server nginx haproxy \
	    $$(command -v node >/dev/null || echo nodejs) $$(command -v npm >/dev/null || echo npm)
	@cd tests/e2e && npm ci --ignore-scripts --no-audit --no-fund --silent

e2e: minnow $(addprefix $(BUILD)/tests/e2e/,sio_server bus_client polling_load cluster_server msgpack_filter adapter_filter) $(EXAMPLES:%=$(BUILD)/examples/%) ## Run the tests with real clients and servers: Chromium, node, npm's and Python's WebSocket, curl, Redis, nginx, HAProxy
	@PATH=$$PATH:/usr/sbin sh tests/need.sh deps-e2e node curl python3 redis-server nginx haproxy $(or $(CHROMIUM),chromium)
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

lint: conformance $(patsubst %,$(PACKED)/%.o,$(LIBRARY)) $(LISTS) ## Check format, layers and what clang-tidy and cppcheck find
	@sh tests/need.sh deps-dev clang clang-format clang-tidy cppcheck git nm cmocka.h libwebsockets.h
	@OBJECTS=$(PACKED) LISTS=$(BUILD)/test PURE="$(PURE)" CORE="$(CORE)" LIBRARY="$(LIBRARY)" \
	    sh tests/lint.sh

# The tests in builds of other kinds, each in a directory of its own. $(call build_test,NAME,VARIABLE=...)
build_test = $(MAKE) --no-print-directory BUILD=$(BUILD)/$(1) LTO= $(2) test

# Assertions are branches that are never taken, so what is measured has none, like the release. A process
# adds its counters to the .gcda files when it ends, also one that root has started and that is another
# user by then. The tests that include a source of the product count too.
coverage: ## Show which lines and branches the tests run; fails below 96 % and 90 %
	@find $(BUILD)/coverage -name '*.gcda' -delete 2>/dev/null || true
	+@$(MAKE) --no-print-directory BUILD=$(BUILD)/coverage LTO= $(COVERAGE) $(BUILD)/coverage/test/minnow
	@for object in $(patsubst %,$(BUILD)/coverage/test/%.gcda,$(PROGRAM) $(CORE) $(CLUSTER) $(SOCKETIO)); do \
	    : > $$object && chmod a+rw $$object || exit 1; done
	+@$(call build_test,coverage,$(COVERAGE))
	@GCOV="$(if $(findstring clang,$(CC)),llvm-cov gcov,gcov)" \
	    sh tests/coverage.sh $(BUILD)/coverage/test $(wildcard *.c cluster/*.c socketio/*.c program/*.c) \
	    $$(grep -l '^#include "\.\./.*\.c"' tests/*.c)
COVERAGE = CPPFLAGS="-DNDEBUG -DMINNOW_SANDBOX_WIDE=1 $(CPPFLAGS)" SANITIZE="-O0 -g --coverage"

# Processes that a test starts are not followed. valgrind knows no seccomp(), and 3.19 crashes when mremap() is asked
# for all memory (test_block). Without fair turns the thread of the server starves that of its client.
valgrind: ## Run the tests without sanitizers, under valgrind
	@sh tests/need.sh deps-analysis valgrind
	+@$(call build_test,valgrind,SANITIZE="-O1 -g" CPPFLAGS="-DSLOWER=10 $(CPPFLAGS)" RUN="$(VALGRIND)" \
	    TESTS="$(filter-out test_block test_load test_minnow test_minnow_workers test_minnow_seccomp test_examples,$(TESTS))")
VALGRIND = valgrind --quiet --fair-sched=yes --error-exitcode=99 --leak-check=full \
    --errors-for-leak-kinds=definite

# Assertions tell the analyzers what holds. scan-build sees only what is compiled, so all is.
analyze: ## Look for bugs with the analyzers of gcc and clang
	@sh tests/need.sh deps-analysis gcc clang scan-build
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/analyze CC=gcc CFLAGS="-O1 -g -fanalyzer" HARDEN= LTO= RELEASE= \
	    WERROR=1 $(BUILD)/analyze/minnow
	@rm -rf $(BUILD)/scan
	@scan-build -o $(BUILD)/scan-reports --use-cc=clang --status-bugs $(MAKE) -s BUILD=$(BUILD)/scan HARDEN= LTO= \
	    RELEASE= $(BUILD)/scan/minnow

# Machines of other kinds. They have no libcmocka, so tests/cmocka.c takes its place (SHIM), and no filter
# of system calls.
test-32: ## Run the tests as 32-bit programs, under sanitizers
	@sh tests/need.sh deps-analysis cmocka.h
	+@$(call build_test,32,CC="gcc -m32 -idirafter /usr/include/$$(gcc -print-multiarch)" SHIM=1 \
	    TESTS="$(filter-out test_minnow_seccomp,$(TESTS))")

# qemu-user runs no program of another kind that a test starts, and no filter of system calls.
S390X_TESTS = $(filter-out test_load test_minnow test_minnow_workers test_minnow_seccomp test_attacks test_examples test_faults,$(TESTS))
test-big-endian: ## Run the tests on an emulated big-endian machine, s390x
	@sh tests/need.sh deps-analysis qemu-s390x s390x-linux-gnu-gcc cmocka.h
	@mkdir -p $(BUILD)/s390x/include && cp /usr/include/cmocka.h $(BUILD)/s390x/include/
	+@$(call build_test,s390x,CC=s390x-linux-gnu-gcc SHIM=1 SANITIZE="-O1 -g" CPPFLAGS="-DSLOWER=10 -isystem $(BUILD)/s390x/include" \
	    TESTS="$(S390X_TESTS)" RUN="qemu-s390x -L /usr/s390x-linux-gnu")

test-static: static $(BUILD)/test/test_minnow $(BUILD)/test/test_minnow_workers ## Run the tests of the program on the static build
	@sh tests/hardening.sh $(BUILD)/static/minnow
	@MINNOW=$(BUILD)/static/minnow sh tests/run.sh $(BUILD)/test/test_minnow $(BUILD)/test/test_minnow_workers

test-sandbox: minnow static $(BUILD)/test/test_minnow $(BUILD)/test/test_minnow_workers ## Run the tests of the program in the sandbox that users get
	@sh tests/need.sh deps-dev strace
	@MINNOW=./minnow sh tests/run.sh $(BUILD)/test/test_minnow $(BUILD)/test/test_minnow_workers
	@TEST=$(BUILD)/test/test_minnow sh tests/sandbox.sh minnow $(BUILD)/static/minnow

# qemu-user has no seccomp, so nothing there enforces the list.
test-arch: $(BUILD)/test/test_minnow ## Compile the program for aarch64, and compare what it calls there with its list of system calls
	@sh tests/need.sh deps-arch aarch64-linux-gnu-gcc qemu-aarch64
	@$(MAKE) --no-print-directory CC=aarch64-linux-gnu-gcc BUILD=$(BUILD)/aarch64 $(BUILD)/aarch64/minnow
	@TEST=$< sh tests/sandbox_arch.sh "qemu-aarch64 -L /usr/aarch64-linux-gnu" $(BUILD)/aarch64/minnow

check-minnow: minnow wscheck ## Grade ./minnow with wscheck: all cases pass
	@sh tests/need.sh deps-dev python3
	@python3 check/peers.py --strict --failures minnow

check-peers: minnow wscheck deps-bench deps-e2e $(BUILD)/bench/lws ## Show what other servers score
	@python3 check/peers.py

test-learn: wscheck minnow ## Show that each step of the course keeps its promise, and its chapter says what is so
	@sh tests/need.sh deps-dev python3 git strace bash
	@python3 learn/check.py --cc "$(CC)"
	@python3 learn/exercise.py --cc "$(CC)" --solutions
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

test-install: all ## Check that what is installed works, wherever it is, and is hardened
	@MAKE="$(MAKE)" CC="$(CC)" sh tests/install.sh

bare-machine: ## Check that the README's commands work on a new Debian; needs root, debootstrap and 15 minutes
	@sh tests/bare_machine.sh
