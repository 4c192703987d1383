# minnow: a WebSocket server. `make help` lists the targets; V=1 shows the commands.

CFLAGS ?= -O2 -g -fno-asynchronous-unwind-tables
# Calls between small files cost 1/6 of a pipelined echo, so gcc inlines across them (`make bench`).
# clang needs its own linker for that.
LTO ?= $(if $(findstring clang,$(CC)),,-flto=auto)
PREFIX ?= /usr/local
# Assertions are for tests and `make debug`.
RELEASE ?= -DNDEBUG
BUILD ?= build

STANDARD = -std=c11 -D_GNU_SOURCE -I. -MMD -MP -pthread \
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion $(if $(WERROR),-Werror) \
    $(if $(MAKE_TERMERR),-fdiagnostics-color=always)

# Lowest first: each may call those before it. `make lint` checks that.
PURE = ws_str sha1 base64 siphash utf8 ws_frame ws_message address rate http http_host http_upgrade forwarded \
    proxy_protocol account buf table host timer output room log_limit conn_table input
CORE = block $(PURE) http_date listen conn_socket server conn_client ws_services conn_trace conn_output conn_end conn_ws conn_http \
    conn accept ws
SOCKETIO = $(addprefix socketio/,settle name_table json eio_codec eio_host_sessions eio_http eio_queue \
    eio_packet sio_packet eio_server eio_output eio_session eio_post engineio sio_server sio_conn sio_room \
    sio_recovery sio_namespace sio_emit sio_socket socketio)
PROGRAM = $(patsubst %.c,%,$(wildcard program/*.c))
EXAMPLES = $(patsubst examples/%.c,%,$(wildcard examples/*.c))

# All cores, unless -j is given.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif

# A word of the shell, whatever is in it.
quoted = '$(subst ','\'',$(1))'

# $(call quietly,CC,file,command): one line for a file, then in one piece what the compiler says of it,
# since several run at once.
quietly = $(if $(filter 1,$(V)),$(3),$(if $(findstring s,$(firstword -$(MAKEFLAGS))),@$(3),$(call in_a_line,$(1),$(2),$(3))))
in_a_line = @said=$$($(3) 2>&1); status=$$?; \
    printf "  %-6s %s$${said:+\n%s}\n" $(1) $(2) $${said:+"$$said"}; exit $$status

# `make deps test`, `make clean all`: one after the other, or what is removed and what is made would meet.
ifneq (,$(and $(filter clean deps%,$(MAKECMDGOALS)),$(word 2,$(MAKECMDGOALS))))
.PHONY: in-order $(MAKECMDGOALS)
$(sort $(MAKECMDGOALS)): in-order
	@:
in-order:
	@$(foreach goal,$(MAKECMDGOALS),$(MAKE) --no-print-directory $(goal) &&) :
else

all: minnow wscheck $(BUILD)/libminnow.a $(EXAMPLES:%=$(BUILD)/examples/%) ## Build minnow, wscheck, libminnow.a and the examples

minnow $(BUILD)/minnow: $(patsubst %,$(BUILD)/%.o,$(PROGRAM) page $(CORE) $(SOCKETIO))
	$(call quietly,LD,$@,$(CC) $(CFLAGS) $(LTO) $(LDFLAGS) -pthread -o $@ $^)

# It shares no object with the server.
CHECK = $(patsubst %.c,%,$(wildcard check/*.c))
check-tool: wscheck ## Build ./wscheck, which grades any WebSocket server
wscheck: $(CHECK:%=$(BUILD)/%.o)
	$(call quietly,LD,$@,$(CC) $(CFLAGS) $(LTO) $(LDFLAGS) -o $@ $^)

run: minnow ## Build and start the chat on http://127.0.0.1:8080/
	./minnow

# The archive has objects of its own, which serve a link without LTO, too. That takes a compiler twice as
# long, so minnow does not wait for them.
PACKED = $(BUILD)$(if $(LTO),/packed)
$(BUILD)/libminnow.a: $(patsubst %,$(PACKED)/%.o,$(CORE) $(SOCKETIO))
	@rm -f $@
	$(call quietly,AR,$@,ar rcs $@ $^)

$(BUILD)/packed/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quietly,CC,$<,$(CC) $(STANDARD) $(RELEASE) $(CPPFLAGS) $(CFLAGS) $(LTO) -ffat-lto-objects -c -o $@ $<)

$(BUILD)/examples/%: $(BUILD)/examples/%.o $(BUILD)/libminnow.a
	$(call quietly,LD,$@,$(CC) $(CFLAGS) $(LTO) $(LDFLAGS) -pthread -o $@ $^)

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quietly,CC,$<,$(CC) $(STANDARD) $(RELEASE) $(CPPFLAGS) $(CFLAGS) $(LTO) -c -o $@ $<)

# Changes when the compiler or its flags do, and with it everything that is compiled.
FLAGS = $(CC) $(RELEASE) $(CPPFLAGS) $(CFLAGS) $(LTO) $(SANITIZE) $(LDFLAGS)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo $(call quoted,$(FLAGS)) | cmp -s - $@ || echo $(call quoted,$(FLAGS)) > $@
.PHONY: FORCE

$(BUILD)/page.c: program/web/index.html program/web/embed.sh
	@mkdir -p $(@D)
	@sh program/web/embed.sh $< > $@

$(BUILD)/page.o: $(BUILD)/page.c $(BUILD)/flags
	$(call quietly,CC,$<,$(CC) -std=c11 $(CFLAGS) -c -o $@ $<)

debug: ## Build ./build/debug/minnow with sanitizers and without optimisation
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/debug CFLAGS="$(SANITIZE) -O0" LTO= RELEASE= $(BUILD)/debug/minnow

static: ## Build ./build/static/minnow with musl, without any shared library
	@sh tests/need.sh deps-dev musl-gcc
	@$(MAKE) --no-print-directory CC=musl-gcc LDFLAGS="-static $(LDFLAGS)" BUILD=$(BUILD)/static $(BUILD)/static/minnow

TO = $(call quoted,$(DESTDIR)$(PREFIX))

install: minnow wscheck $(BUILD)/libminnow.a ## Install below $(DESTDIR)$(PREFIX)
	install -d $(TO)/bin $(TO)/include/socketio $(TO)/lib
	install minnow $(TO)/bin/minnow
	install -m 644 ws.h ws_protocol.h ws_str.h $(TO)/include/
	install -m 644 socketio/sio.h socketio/engineio.h socketio/json.h $(TO)/include/socketio/
	install -m 644 $(BUILD)/libminnow.a $(TO)/lib/

include tests/tests.mk
include bench/bench.mk

clean: ## Remove everything that was built
	@rm -rf $(BUILD) minnow wscheck

help: ## Show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(HELPFUL) | expand -t 16

# Every target with a line of help is one that makes no file of its name; but for minnow none is.
HELPFUL = Makefile tests/tests.mk bench/bench.mk
.PHONY: $(shell sed -n 's/^\([a-z0-9-]*\):.*\#\#.*/\1/p' $(HELPFUL))

.SECONDARY:
.DELETE_ON_ERROR:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
endif
