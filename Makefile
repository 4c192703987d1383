# minnow: a WebSocket server. `make help` lists the targets; V=1 shows the commands.

CFLAGS ?= -O2 -g -fno-asynchronous-unwind-tables
# Calls between small files cost 1/6 of a pipelined echo, so gcc inlines across them (`make bench`).
# clang needs its own linker for that.
LTO ?= $(if $(findstring clang,$(CC)),,-flto=auto)
PREFIX ?= /usr/local
# Assertions are for tests and `make debug`.
RELEASE ?= -DNDEBUG
BUILD ?= build

# What makes a bug in memory harder to use; `HARDEN= HARDEN_LINK=` turns it off. It stands beside CFLAGS, so that
# CFLAGS of your own do not lose it, but can override it. A flag that the compiler does not know is left out:
# -fcf-protection is for x86 alone. _FORTIFY_SOURCE works with -O1 and more; an older libc takes 3 for 2.
HARDEN ?= $(eval HARDEN := $$(harden))$(HARDEN)
harden = -fPIE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 $(strip $(foreach flag, \
    -fstack-protector-strong -fstack-clash-protection -fcf-protection,$(call known,$(flag))))
known = $(shell $(CC) $(CFLAGS) -Werror $(1) -x c -c -o /dev/null /dev/null 2>/dev/null && echo $(1))
# The addresses of libc's functions are found at the start, and then their table is read-only.
HARDEN_LINK ?= -pie -Wl,-z,relro,-z,now
# The objects of the archive serve a shared library, too.
ANYWHERE = -fPIC -fno-semantic-interposition

STANDARD = -std=c11 -D_GNU_SOURCE -I. -MMD -MP -pthread \
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion $(if $(WERROR),-Werror) \
    $(if $(MAKE_TERMERR),-fdiagnostics-color=always)

# Lowest first: each may call those before it. `make lint` checks that.
PURE = ws_str sha1 base64 siphash utf8 ws_frame ws_message address rate http http_host http_upgrade forwarded \
    proxy_protocol account buf table host timer output room log_limit conn_table input
CORE = block $(PURE) http_date listen conn_socket server conn_client ws_services conn_trace conn_output conn_end conn_ws conn_http \
    conn accept ws
CLUSTER = $(addprefix cluster/,name_table resp redis_url redis_lookup redis_conn bus bus_redis ws_cluster \
    bus_link bus_hub bus_local)
SOCKETIO = $(addprefix socketio/,settle json msgpack eio_codec eio_host_sessions eio_http eio_queue \
    eio_packet sio_packet sio_msgpack sio_adapter eio_server eio_waits eio_output eio_session eio_post engineio sio_server sio_conn sio_room \
    sio_recovery sio_namespace sio_emit sio_socket sio_remote sio_cluster socketio)
LIBRARY = $(CORE) $(CLUSTER) $(SOCKETIO)
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

COMPILE = $(CC) $(STANDARD) $(RELEASE) $(CPPFLAGS) $(HARDEN) $(CFLAGS) $(LTO)
LINK = $(CC) $(if $(LTO),$(HARDEN)) $(CFLAGS) $(LTO) $(HARDEN_LINK) $(LDFLAGS)

all: minnow wscheck $(BUILD)/libminnow.a $(EXAMPLES:%=$(BUILD)/examples/%) ## Build minnow, wscheck, libminnow.a and the examples

minnow $(BUILD)/minnow: $(patsubst %,$(BUILD)/%.o,$(PROGRAM) page $(LIBRARY))
	$(call quietly,LD,$@,$(LINK) -pthread -o $@ $^)

# It shares no object with the server.
CHECK = $(patsubst %.c,%,$(wildcard check/*.c))
check-tool: wscheck ## Build ./wscheck, which grades any WebSocket server
wscheck: $(CHECK:%=$(BUILD)/%.o)
	$(call quietly,LD,$@,$(LINK) -o $@ $^)

run: minnow ## Build and start the chat on http://127.0.0.1:8080/
	./minnow

# The archive has objects of its own, which serve a link without LTO, too. That takes a compiler twice as
# long, so minnow does not wait for them.
PACKED = $(BUILD)$(if $(LTO),/packed)
$(BUILD)/libminnow.a: $(patsubst %,$(PACKED)/%.o,$(LIBRARY))
	@rm -f $@
	$(call quietly,AR,$@,ar rcs $@ $^)

$(BUILD)/packed/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quietly,CC,$<,$(COMPILE) $(ANYWHERE) -ffat-lto-objects -c -o $@ $<)

$(BUILD)/examples/%: $(BUILD)/examples/%.o $(BUILD)/libminnow.a
	$(call quietly,LD,$@,$(LINK) -pthread -o $@ $^)

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quietly,CC,$<,$(COMPILE) -c -o $@ $<)

# Changes when the compiler or its flags do, and with it everything that is compiled.
FLAGS = $(CC) $(RELEASE) $(CPPFLAGS) $(HARDEN) $(HARDEN_LINK) $(CFLAGS) $(LTO) $(SANITIZE) $(LDFLAGS)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo $(call quoted,$(FLAGS)) | cmp -s - $@ || echo $(call quoted,$(FLAGS)) > $@
.PHONY: FORCE

$(BUILD)/page.c: program/web/index.html program/web/embed.sh
	@mkdir -p $(@D)
	@sh program/web/embed.sh $< > $@

$(BUILD)/page.o: $(BUILD)/page.c $(BUILD)/flags
	$(call quietly,CC,$<,$(CC) -std=c11 $(HARDEN) $(CFLAGS) -c -o $@ $<)

debug: ## Build ./build/debug/minnow with sanitizers and without optimisation
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/debug CFLAGS="$(SANITIZE) -O0" HARDEN= HARDEN_LINK= LTO= RELEASE= \
	     $(BUILD)/debug/minnow

# musl-gcc has no -static-pie: its own start file is for a dynamic loader, rcrt1.o relocates the program itself.
MUSL = $(shell musl-gcc -v 2>&1 | sed -n 's|^Reading specs from \(.*\)/.*|\1|p')
STATIC_PIE = -static -nostartfiles $(MUSL)/rcrt1.o -Wl,-pie,--no-dynamic-linker,-z,text,-z,relro,-z,now

static: ## Build ./build/static/minnow with musl, without any shared library
	@sh tests/need.sh deps-dev musl-gcc
	@$(MAKE) --no-print-directory CC=musl-gcc HARDEN_LINK="$(STATIC_PIE)" BUILD=$(BUILD)/static $(BUILD)/static/minnow

TO = $(call quoted,$(DESTDIR)$(PREFIX))

install: minnow wscheck $(BUILD)/libminnow.a ## Install below $(DESTDIR)$(PREFIX)
	install -d $(TO)/bin $(TO)/include/cluster $(TO)/include/socketio $(TO)/lib
	install minnow $(TO)/bin/minnow
	install -m 644 ws.h ws_protocol.h ws_str.h $(TO)/include/
	install -m 644 socketio/sio.h socketio/sio_cluster.h socketio/engineio.h socketio/json.h $(TO)/include/socketio/
	install -m 644 $(addprefix cluster/,bus.h bus_redis.h bus_link.h bus_local.h bus_hub.h ws_cluster.h) $(TO)/include/cluster/
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
