#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Is wscheck honest? Each case has to fail on a server that does wrong what the case is about.

usage: honest.py WSCHECK BROKEN [GLOB]

BROKEN is the server of broken.c, which is right without a fault and makes one mistake with
`--fault NAME`. Here are all its faults (those that match GLOB, if it is given), each with the cases
that fail or warn because of it: these and no others. The faults together fail every case.

Each wrong thing is one line on stdout; then the exit status is 1."""

import concurrent.futures
import fnmatch
import json
import os
import subprocess
import sys

ROUNDS = 5     # see Row.judge()
TIMEOUT_S = 1  # that wscheck waits for what will not come

# What wscheck plays: --only takes one pattern, so some are made of the first letters of levels.
ALL_BUT_LIMITS = "[!l]*"
HTTP = "h*"                # handshake/ and http/
WEBSOCKET = "[!hl]*"       # frames/, messages/, closing/, utf8/, strict/
RULES = "[cms]*"           # closing/, messages/, strict/
UTF8 = "utf8/*"


class Row:
    """A fault, and what wscheck has to say of it.

    must: globs of the cases that fail; `-glob` takes some of them out again.
    may:  globs of cases that fail as well, or by chance: what one recv() gets, the kernel says."""

    def __init__(self, fault, must, may="", scope=RULES):
        self.fault, self.must, self.may, self.scope = fault, must.split(), may.split(), scope

    def play(self, programs, timeout_s):
        """Returns the names of the cases that fail or warn, or a text that says what broke."""
        command = [programs.broken] + (["--fault", self.fault] if self.fault else [])
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True)
        try:
            url = f"ws://127.0.0.1:{server.stdout.readline().strip()}/echo"
            command = [programs.wscheck, "--format", "json", "--timeout", str(timeout_s),
                       "--only", self.scope, url]
            run = subprocess.run(command, capture_output=True, text=True, timeout=300)
            ended = server.poll()
        finally:
            server.kill()
        said = server.communicate()[1].strip() + run.stderr.strip()
        if ended is not None or said or run.returncode not in (0, 1):
            return said.splitlines()[0] if said else f"wscheck ends with {run.returncode}"
        return {c["name"] for c in json.loads(run.stdout)["cases"] if c["verdict"] != "pass"}

    def wanted(self, names):
        """The cases of the scope that have to fail, and those that may."""
        names = {n for n in names if fnmatch.fnmatchcase(n, self.scope)}
        must = {n for g in self.must if g[0] != "-" for n in named(names, g)}
        must -= {n for g in self.must if g[0] == "-" for n in named(names, g[1:])}
        return must, must | {n for g in self.may for n in named(names, g)}

    def judge(self, programs, names):
        """Returns the cases that fail, and what is wrong as a list of lines.

        A busy machine is late with an answer, or puts two segments together that the fault needs
        apart. So where something is wrong the row is played again, with more patience: a case has
        to fail once to have failed, and in each round to be one that should not have."""
        must, may = self.wanted(names)
        failed, strange = set(), None
        lines = [f"{self.fault}: {g} is no case" for g in self.must + self.may
                 if not named(names, g.lstrip("-"))]
        for i in range(ROUNDS):
            bad = self.play(programs, TIMEOUT_S * (1 + 2 * i))
            if isinstance(bad, str):
                return failed, lines + [f"{self.fault or 'no fault'}: {bad}"]
            failed |= bad
            strange = bad - may if strange is None else strange & (bad - may)
            if must <= failed and not strange:
                break
        lines += [f"{self.fault}: {n} passes" for n in sorted(must - failed)]
        lines += [f"{self.fault or 'no fault'}: {n} fails" for n in sorted(strange)]
        return failed & may, lines


def named(names, glob):
    return fnmatch.filter(names, glob)


def handshake_rows():
    refuse, legal, version = "handshake/refuse/", "handshake/legal/", "handshake/version/"
    empty_items = "http/field/empty-list-items"

    return [Row(fault, must, scope=HTTP) for fault, must in (
        # the answer
        ("no-upgrade-field", "handshake/answer/upgrade"),
        ("connection-keep-alive", "handshake/answer/connection"),
        ("accept-unpadded", f"handshake/answer/accept handshake/key/* {legal}*"),
        ("accept-fixed", "handshake/key/*"),
        ("extension-unasked", f"handshake/answer/no-extension {legal}*"),
        ("extension-agreed", f"{legal}*unknown-extension*"),
        ("extension-refused", f"{legal}*unknown-extension*"),
        ("protocol-unasked", "handshake/answer/no-subprotocol handshake/subprotocol/unknown"),
        ("protocol-of-its-own", "handshake/subprotocol/unknown"),
        ("length-in-101", "handshake/answer/no-length"),
        ("coding-in-101", "handshake/answer/no-transfer-encoding"),
        # what is legal is refused
        ("known-fields-only", f"{legal}unknown-fields {legal}empty-value {legal}browser "
         f"{legal}obs-text {legal}colon-in-value {legal}*extension* handshake/long/* "
         "handshake/subprotocol/unknown"),
        ("connection=whole", f"{legal}connection-list* {empty_items}"),
        ("connection=first-item", f"{legal}connection-list* {empty_items}"),
        ("connection=comma-and-space", f"{legal}connection-list-tight {empty_items}"),
        ("connection=first-field", f"{legal}connection-two-fields"),
        ("case-of=connection", f"{legal}connection-case {legal}names-*"),
        ("case-of=upgrade", f"{legal}upgrade-case"),
        ("names-as-written", f"{legal}names-*"),
        ("value=needs-space", f"{legal}no-space-after-colon"),
        ("value=one-space", f"{legal}spaces-around-values"),
        ("value=not-trimmed", f"{legal}spaces-around-values"),
        ("value=empty-refused", f"{legal}empty-value"),
        ("value=quote-refused", f"{legal}browser {legal}colon-in-value "
         f"{legal}two-unknown-extensions"),
        ("value=ascii", f"{legal}obs-text"),
        ("host=first", f"{legal}order"),
        ("head-max=400", f"{legal}browser handshake/long/*"),
        ("fields-max=20", "handshake/long/*"),
        # what is not legal is accepted
        ("unchecked=upgrade", f"{refuse}no-upgrade {refuse}other-upgrade {refuse}upgrade-prefix"),
        ("upgrade=prefix", f"{refuse}upgrade-prefix"),
        ("unchecked=connection", f"{refuse}no-connection {refuse}connection-*"),
        ("connection=prefix", f"{refuse}connection-prefix"),
        ("unchecked=key", f"{refuse}*key*"),
        ("unchecked=two-keys", f"{refuse}two-keys"),
        ("key=length-alone", f"{refuse}key-of-17-bytes {refuse}key-not-base64"),
        ("key=any-base64", f"{refuse}key-of-1?-bytes"),
        ("key=padding-optional", f"{refuse}key-without-padding"),
        ("key=may-be-empty", f"{refuse}empty-key"),
        ("unchecked=method", f"{refuse}post {refuse}put {refuse}delete "
         f"{refuse}method-in-lower-case http/line/method-not-a-token"),
        ("case-of=method-ignored", f"{refuse}method-in-lower-case"),
        ("unchecked=http-1.0", f"{refuse}http-1.0"),
        ("unchecked=host", f"{refuse}no-host http/host/missing"),
        ("unchecked=version", f"{refuse}no-version {refuse}two-versions {version}*"),
        ("unchecked=two-versions", f"{refuse}two-versions"),
        ("version=optional", f"{refuse}no-version"),
        ("version=atoi", f"{version}8 {version}9"),
        ("version=prefix", f"{version}5 {version}9"),
        ("version=without-sign", f"{version}[789]"),
        ("version=without-blanks", f"{version}6"),
        ("version=up-to-13", f"{version}[1238] {version}426"),
        ("version=from-13", f"{version}[458]"),
        ("version-400", f"{version}426"),
        ("426-without-version", f"{version}* -{version}426"),
    )] + [Row("head-in-one-recv", "handshake/pieces-of/*",
              "handshake/long/* handshake/subprotocol/* http/size/*", HTTP)]


def http_rows():
    line, field, body = "http/line/", "http/field/", "http/body/"
    sequence, refuse = "http/sequence/", "handshake/refuse/"

    return [Row(fault, must, scope=HTTP) for fault, must in (
        # the request line
        ("line=version-case", f"{line}lower-case-version"),
        ("line=version-ends-in-1.1", f"{line}lower-case-version {line}version-11 "
         f"{line}space-in-target"),
        ("line=version-atof", f"{line}version-1.10 {line}space-at-end"),
        ("line=version-1.1-or-more", f"{line}version-* {line}space-at-end"),
        ("line=no-version", f"{line}no-version"),
        ("line=no-method", f"{line}no-method"),
        ("line=no-target", f"{line}no-target"),
        ("line=spaces", f"{line}two-spaces"),
        ("line=tabs", f"{line}tab"),
        ("line=space-at-end", f"{line}space-at-end"),
        ("line=space-before", f"{line}space-before"),
        ("line=space-in-target", f"{line}space-in-target"),
        ("line=any-target", f"{line}target-without-slash"),
        ("line=control-in-target", f"{line}control-in-target"),
        ("line=no-empty-line-before", f"{line}empty-line-before"),
        ("line=no-absolute-form", f"{line}absolute-form*"),
        ("line=scheme-case", f"{line}absolute-form-upper-case"),
        # Host
        ("host=two", "http/host/two*"),
        ("host=space", "http/host/with-space"),
        ("host=path", "http/host/with-path"),
        ("host=user", "http/host/with-user"),
        ("host=list", "http/host/list http/host/with-space"),
        ("host=any-port", "http/host/bad-port"),
        # fields
        ("field=space-before-colon", f"{field}space-before-colon {field}tab-before-colon"),
        ("field=folded", f"{field}folded"),
        ("field=leading-space", f"{field}first-folded"),
        ("field=no-colon", f"{field}no-colon"),
        ("field=empty-name", f"{field}empty-name"),
        ("field=space-in-name", f"{field}space-in-name {field}space-before-colon"),
        ("field=bracket-in-name", f"{field}bracket-in-name"),
        ("field=non-ascii-name", f"{field}non-ascii-name"),
        ("field=control-in-value", f"{field}control-in-value"),
        ("field=bare-cr", f"{field}bare-cr*"),
        ("connection=empty-item-ends", f"{field}empty-list-items"),
        ("field=nul", f"{field}nul-in-value"),
        ("field=nul-at-start", f"{field}nul-at-start"),
        # bodies
        ("length=atol", f"{body}length-* -{body}length-and-chunked"),
        ("length=list", f"{body}length-list"),
        ("length=wraps", f"{body}length-huge"),
        ("length=first-of-two", f"{body}two-lengths"),
        ("coding=substring", f"{body}chunked-not-last {body}chunked-twice {body}chunked-quoted"),
        ("coding=unknown", f"{body}unknown-coding {body}chunked-not-last {body}chunked-twice "
         f"{body}chunked-quoted"),
        ("coding=in-1.0", f"{body}chunked-in-1.0"),
        ("coding=and-length", f"{body}length-and-chunked"),
        ("chunk=strtoull", f"{body}chunk-size-*"),
        # sizes
        ("full-buffer-hangs", "http/size/* -http/size/target-4000"),
        ("long-head-dropped=2048", "http/size/target-4000 handshake/long/4-kib"),
        ("head-unlimited", "http/size/field-1-mib http/size/100000-fields "
         "http/size/target-200000"),
        # one request after another
        ("not-kept-open", f"{sequence}keep-alive {sequence}pipeline-* {sequence}upgrade-after-get"),
        ("one-request-per-recv", f"{sequence}pipeline-* {sequence}*looks-like* "
         f"{sequence}*look-like*"),
        ("upgrade-first-only", f"{sequence}upgrade-after-get"),
        ("close-ignored", f"{sequence}close {sequence}*looks-like* {sequence}*look-like*"),
        ("1.0-kept-open", f"{sequence}http-1.0"),
        ("no-1.0", f"{refuse}http-1.0 {line}http-1.0 {sequence}http-1.0"),
        ("unknown-method-dropped", f"{line}unknown-method {refuse}method-in-lower-case"),
        ("no-page", f"{refuse}*upgrade* {refuse}*connection* {refuse}post {refuse}put "
         f"{refuse}delete {refuse}method-in-lower-case {refuse}http-1.0 {line}plain "
         f"{line}unknown-method {line}http-1.0 http/size/target-4000 {sequence}*"),
    )] + [Row("body-unread", f"{body}chunk-size-* {sequence}*looks-like*",
              f"{sequence}*look-like*", HTTP)]


def length_rows(names):
    lengths = sorted({int(n.rsplit("-", 1)[1]) for n in named(names, "frames/length/*")})
    length = "frames/length/"
    long = f"{length}*-6553[67]"

    return [Row(f"echo-length={n}", f"{length}*-{n}", scope=f"{length}*") for n in lengths] + [
        Row("length-16-swapped", f"{length}* -{length}*-[0-9] -{length}*-[1-9][0-9] -{long} "
            f"-{length}*-100 -{length}*-12[45] -{length}*-257 -{length}*-65535",
            scope=f"{length}*"),
        Row("length-64-as-16", long, scope=f"{length}*"),
        Row("echo-as=text", f"{length}binary-*", scope=f"{length}*"),
        Row("echo-as=binary", f"{length}text-*", scope=f"{length}*"),
    ] + [Row(f"echo={how}", f"{length}*", scope=f"{length}*")
         for how in ("masked", "rsv", "opcode", "not-final", "continuation")] + [
        Row("echo=long-form", f"{length}* -{long}", scope=f"{length}*")]


def frame_rows(names):
    keys = [n.rsplit("/", 1)[1] for n in named(names, "frames/mask/*")]
    pieces = ("frames/pieces-of-* messages/pieces-of-* messages/ping/in-pieces "
              "closing/pieces-of-* utf8/pieces-of-*")
    chance = f"{pieces} strict/pieces-of-1/*"
    cut = "frames/cut/"
    big = "frames/length/*-655* messages/fragments/* frames/cut/65540-*"

    return [Row(f"mask-lacks={i}",
                " ".join(f"frames/mask/{k}" for k in keys if k[2 * i:2 * i + 2] != "00"),
                scope="frames/mask/*") for i in range(4)] + [
        Row("mask-of-zeros", "frames/mask/00000000", scope="frames/*"),
        Row("mask-of-7-bits", "frames/mask/80000000 frames/mask/ffffffff frames/mask/deadbeef "
            "frames/mask/8185888a", scope="frames/mask/*"),
        Row("mask-from-header", "frames/mask/* -frames/mask/00000000 -frames/mask/ffffffff",
            scope="frames/mask/*"),
        Row("mask-starts-anew", f"{cut}5-after-[78] {cut}200-after-9 {cut}200-after-10 "
            f"{cut}65540-after-15 {cut}65540-after-16 frames/pieces-of-1/20", f"{chance} {big}",
            WEBSOCKET),
        Row("cut-in=first-byte", f"{cut}*-after-1", f"{chance} {big}", WEBSOCKET),
        Row("cut-in=length", f"{cut}200-after-[23] {cut}65540-after-[2-9] frames/pieces-of-1/300",
            f"{chance} {big}", WEBSOCKET),
        Row("cut-in=mask", f"{cut}5-after-[2-5] {cut}200-after-[4-7] {cut}65540-after-1[0-3] "
            "frames/pieces-of-1/20 messages/pieces-of-1", f"{chance} {big}", WEBSOCKET),
        Row("cut-in=payload", f"{cut}5-after-[678] {cut}200-after-[89] {cut}200-after-10 "
            f"{cut}65540-after-1[456] {pieces}", f"strict/pieces-of-1/* {big}", WEBSOCKET),
        Row("one-frame-per-recv", "frames/together/*", scope="frames/together/*"),
    ]


def message_rows(names):
    lengths = sorted({n.rsplit("/", 1)[1] for n in named(names, "messages/ping/*")} &
                     {str(i) for i in range(126)})
    ping, pong, cut, empty = "messages/ping/", "messages/pong/", "messages/cut/", "messages/empty/"
    between, sequence = "messages/ping-between/", "messages/sequence/"
    pieces = "messages/pieces-of-*"
    inside = f"messages/p?ng-between/[123] {between}at-once {pieces}"

    return [Row(f"pong-lacks={n}", f"{ping}{n}", f"{ping}125-binary" if n == "125" else "",
                "messages/*") for n in lengths] + [
        Row(fault, must, may, WEBSOCKET) for fault, must, may in (
            # fragments
            ("fragments-forgotten", f"messages/fragments/* {cut}*after-[1-5] {empty}* "
             f"-{empty}11[01] messages/p?ng-between/* {pieces} {sequence}* utf8/split/*", ""),
            ("each-fragment-echoed", f"messages/fragments/* {cut}* -{cut}after-5 {empty}* "
             f"messages/p?ng-between/* -{between}at-once {pieces} {sequence}* utf8/split/*",
             f"{between}at-once utf8/split-illegal/* strict/* closing/*"),
            ("type-of-last-frame", f"messages/fragments/text-* {cut}* {empty}* {sequence}* "
             f"messages/p?ng-between/* {pieces} utf8/split/*", ""),
            ("type-of-first-message", f"{sequence}* messages/fragments/binary-* frames/together/* "
             "frames/pieces-of-*", ""),
            ("open-if-not-empty", f"{cut}after-0 {empty}1?? utf8/split-illegal/8", ""),
            ("empty-fragment-refused", f"{cut}after-[05] {empty}* utf8/split-illegal/[78]", ""),
            ("empty-continuation-ignored", f"{cut}after-5 {empty}??1 utf8/split-illegal/7", ""),
            ("empty-unanswered", f"{empty}111 {sequence}mixed frames/length/*-0", ""),
            ("echo-max=65535", "frames/length/*-6553[67] frames/cut/65540-* "
             "messages/fragments/*-65536-* messages/fragments/*-131072-* "
             "messages/fragments/*-200000-*", ""),
            # control frames between them
            ("control-ends-message", f"{inside} utf8/split/*-with-ping "
             "strict/order/text-after-ping", ""),
            ("control-in-message", f"{inside} utf8/split/*-with-ping", ""),
            ("control-resets-utf8", "utf8/split/*-with-ping", ""),
            ("pong=not-in-message", f"{between}[12] {between}at-once {pieces}", ""),
            ("pong=after-message", f"{between}at-once", ""),
            # Ping and Pong
            ("pong=never", f"{ping}* {between}* {pieces}", ""),
            ("pong=ping", f"{ping}* {between}* {pieces}", ""),
            ("pong=empty", f"{ping}* -{ping}0 {between}* {pieces}", ""),
            ("pong=as-string", f"{ping}125-binary", ""),
            ("pong=first-only", f"{ping}10-at-once", ""),
            ("control-max=124", f"{ping}125* {pong}125 closing/reason/123", ""),
            ("pong-refused", f"{pong}* messages/pong-between/*", ""),
            ("pong-echoed", f"{pong}* messages/pong-between/*", ""),
            ("nul-ends-text", "utf8/character/U+0000", ""),
            ("mark-dropped", "utf8/character/U+FEFF utf8/text/byte-order-mark", ""),
            ("crlf-to-lf", "utf8/text/combining",
             "frames/length/binary-* messages/fragments/binary-*"),
        )]


def closing_rows(names):
    codes = [n.rsplit("/", 1)[1] for n in named(names, "closing/code/*")]
    ended = "closing/* -closing/fin/*"
    reason, fin, behind = "closing/reason/", "closing/fin/", "closing/behind/"
    whole = f"closing/code/1000 {reason}* closing/pieces-of-* closing/before/* {behind}*"

    return [Row(f"status-lacks={0 if c == 'none' else c}",
                whole if c == "1000" else f"closing/code/{c}")
            for c in codes if c != "1002"] + [  # which is how a status is refused
        Row("close-always-1000", "closing/code/* -closing/code/1000"),
        Row("close-unanswered", ended, scope="closing/*"),
        Row("tcp-left-open=after-close", ended, scope="closing/*"),
        Row("close-payload-of-1", ended, scope="closing/*"),
        Row("close-reason", f"{ended} -closing/code/none", scope="closing/*"),
        Row("frame-after-close", ended, scope="closing/*"),
        Row("ends-without-close", ended, scope="closing/*"),
        Row("reason-max=0", f"{reason}* closing/pieces-of-*"),
        Row("reason-max=1", f"{reason}* -{reason}1 closing/pieces-of-*"),
        Row("reason-max=121", f"{reason}12[23]"),
        Row("reason-max=122", f"{reason}123"),
        Row("reason-ascii", f"{reason}utf8"),
        Row("close-in-message", "closing/before/fragment"),
        Row("close-drops-output", "closing/before/*message*"),
        Row("goes-on-after-close", f"{behind}* -{behind}fin"),
        Row("fin-first", f"{behind}fin"),
        Row("no-linger", f"{behind}1-mib", f"{behind}*"),
        Row("fin-ignored=idle", f"{fin}idle {fin}after-a-message"),
        Row("fin-ignored=in-a-frame", f"{fin}in-a-header {fin}in-a-mask {fin}in-a-payload"),
        Row("fin-ignored=in-a-message", f"{fin}in-a-message"),
    ]


def utf8_table_rows(names):
    """One entry of the table of RFC 3629 is wrong: by its first byte, or for one character."""
    rows = []
    text = "utf8/text/* utf8/split/* utf8/pieces-of-*"  # they hold many characters
    beside = {  # sequences with names of their own
        "low=e0": "utf8/known/overlong-max-3 utf8/split-illegal/6",
        "high=ed": "utf8/known/surrogate-first utf8/split-illegal/3 utf8/fail-fast/*-eda0",
        "low=f0": "utf8/known/overlong-max-4",
        "high=f4": "utf8/known/above-10ffff utf8/split-illegal/4 utf8/fail-fast/*-f490",
        "first=80": "utf8/split-illegal/8",
        "first=ff": "utf8/fail-fast/*-ff",
        "low=e2": "utf8/fail-fast/*-e27f",
        "lacks=e2": "utf8/known/two-continuations",
    }
    characters = {n: int(n.rsplit("+", 1)[1], 16) for n in named(names, "utf8/character/*")}

    def row(how, first, case, may=""):
        rows.append(Row(f"utf8-{how}={first}",
                        f"{case} {beside.get(f'{how}={first}', '')}", may, UTF8))

    for name, point in characters.items():
        legal = f"utf8/second-byte/{chr(point).encode()[0]:02x}-legal"
        rows.append(Row(f"utf8-refuses={point:x}", name,
                        f"{text} {legal}" if legal in names else text, UTF8))
    for case in named(names, "utf8/first-byte/*"):
        row("first", case.rsplit("/", 1)[1], case)
    for case in named(names, "utf8/second-byte/*-below"):
        first = case.rsplit("/", 1)[1][:2]
        same = [n for n, point in characters.items() if f"{chr(point).encode()[0]:02x}" == first]
        row("low", first, case)
        row("high", first, case.replace("below", "above"))
        row("lacks", first, " ".join([case.replace("below", "legal")] + same), text)
    return rows


def utf8_rows():
    known, split, illegal = "utf8/known/", "utf8/split/*", "utf8/split-illegal/"
    second, first, cut_off = "utf8/second-byte/", "utf8/first-byte/", "utf8/cut-off/*"
    fast = "utf8/fail-fast/"

    return [Row(fault, must, scope=UTF8) for fault, must in (
        ("utf8=unchecked", f"{first}* {second}*-below {second}*-above {cut_off} {illegal}* {fast}* "
         f"{known}* -{known}two-continuations"),
        ("utf8=overlong-2", f"{known}*-2 {known}overlong-nul {fast}*-c0af"),
        ("utf8=overlong-3", f"{known}overlong-*-3 {second}e0-below {illegal}6"),
        ("utf8=overlong-4", f"{known}overlong-*-4 {second}f0-below"),
        ("utf8=surrogates", f"{known}surrogate-* {second}ed-above {illegal}3 {fast}*-eda0"),
        ("utf8=above-10ffff", f"{known}above-10ffff {second}f4-above {illegal}4 {fast}*-f490"),
        ("utf8=rfc-2279", f"{known}five-bytes {known}six-bytes"),
        ("utf8=marks", f"{known}utf16-mark {first}f[ef] {fast}*-ff"),
        ("utf8=ascii-mends", f"{second}[cd]?-below {known}*-7f {known}latin-1 {illegal}1 "
         f"{fast}*-e27f"),
        ("utf8-any-at=3", f"{known}third-byte-* {illegal}1"),
        ("utf8-any-at=4", f"{known}fourth-byte-* {illegal}2"),
        ("utf8-refuses=2080", f"{known}two-continuations"),
        ("utf8=open-end", f"{cut_off} {illegal}[57]"),
        ("utf8=binary-too", "utf8/binary/*"),
        ("utf8=continuations-unchecked", f"{illegal}*"),
        ("utf8=each-fragment", split),
        ("utf8=at-the-end", f"{fast}*"),
        ("utf8=at-end-of-frame", f"{fast}frame-*"),
    )] + [Row("utf8=each-recv", f"{split} utf8/pieces-of-*", scope=UTF8)]


def strict_rows():
    strict, length, control, order = "strict/", "strict/length/", "strict/control/", "strict/order/"
    close = "strict/close/"
    anywhere = "strict/later/{0} strict/behind/{0} strict/pieces-of-1/{0}".format
    opcodes = ("continuation", "text", "binary", "close", "ping", "pong")
    bits = [f"{i >> 2 & 1}{i >> 1 & 1}{i & 1}" for i in range(8)]
    codes = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, 65535)

    def text_too(opcode, case):
        return anywhere(case) if opcode == "text" else ""

    rows = [Row(f"rsv={i}", f"strict/rsv/*-{bits[i]} {anywhere('rsv') if i == 4 else ''}")
            for i in range(1, 8)]
    rows += [Row(f"rsv-of={o}", f"strict/rsv/{o}-* {text_too(o, 'rsv')}") for o in opcodes]
    rows += [Row(f"opcode={i}", f"strict/opcode/{i}-* {anywhere('opcode') if i == 3 else ''}")
             for i in list(range(3, 8)) + list(range(11, 16))]
    rows += [Row(f"unmasked={o}", f"strict/unmasked/{o}* {text_too(o, 'unmasked')}")
             for o in opcodes]
    rows += [Row(f"control-long={o}", f"{control}{o}-[0-9]*") for o in opcodes[3:]]
    rows += [Row(f"control-fragment={o}", f"{control}{o}-fragment*"
                 + (" " + anywhere("ping-fragment") if o == "ping" else "")) for o in opcodes[3:]]
    rows += [Row(f"status-taken={c}", f"{close}{c}" + (f" {close}{c}-with-reason" if c else ""))
             for c in codes]
    return rows + [Row(fault, must) for fault, must in (
        ("unmasked=empty", "strict/unmasked/*-empty"),
        ("long-form=2", f"{length}*-in-2-bytes {anywhere('long-form')}"),
        ("long-form=8", f"{length}*-in-8-bytes"),
        ("any-length-awaited", f"{length}*2-to-the-6*"),
        ("wraps=size-of-frame", f"{length}*-2-to-the-64-*"),
        ("wraps=size-of-message", f"{length}continuation-2-to-the-64-*"),
        ("order=begins-anew", f"{order}*-in-* {order}text-after-*"),
        ("order=continues-nothing", f"{order}continues-* {anywhere('continuation')}"),
        ("order=after-the-end", f"{order}continues-a-whole-* {order}continues-what-has-ended "
         "strict/later/continuation"),
        ("order=after-ping", f"{order}continues-after-ping"),
        ("half-a-status", f"{close}half-a-status"),
        ("status-undefined-taken", f"{close}1016* {close}1100* {close}2???*"),
        ("reason-unchecked", f"{close}reason-*"),
        ("reason-open-end", f"{close}reason-cut-off"),
        ("goes-on-after-a-fault", "strict/pieces-of-1/* -strict/pieces-of-1/utf8 strict/behind/* "
         f"{control}*-fragments "
         f"{order}continues-nothing-twice {order}binary-begun-in-text"),
        ("answers-before-it-fails", "strict/rsv/cont* strict/rsv/text-* strict/rsv/binary-* "
         f"strict/unmasked/cont* strict/unmasked/text* strict/unmasked/binary* {length}text-* "
         f"{length}binary-* {length}cont* {order}continues-nothing {order}continues-after-ping "
         f"{order}*text-in-* {order}binary-in-* {order}text-after-* {anywhere('rsv')} "
         f"{anywhere('unmasked')} "
         f"{anywhere('continuation')} {anywhere('long-form')}"),
    )] + [
        Row("checks=whole-frames", "strict/pieces-of-1/* utf8/fail-fast/frame-* "
            f"{length}*2-to-the-6*", f"{length}*65535* {control}*-65536 {control}*-1000", "[su]*"),
        Row("checks=first-frame", "strict/later/* strict/*/continuation-[0-9e]* "
            f"strict/unmasked/cont* {order}* -{order}continues-nothing*"),
    ] + [Row(fault, f"{strict}*", scope="strict/*")
         for fault in ("fails-without-close", "fails-with=1000", "tcp-left-open=after-fault")]


def limit_rows():
    large, flood, claim, slow = "limits/large/*", "limits/flood/", "limits/claim/*", "limits/slow/"
    parts = "limits/large/*-in-*"
    kept = "limits/[fcs]*"  # all but large/, which takes seconds

    return [
        Row("echo-max=65535", large, scope=large),
        Row("fragments-forgotten", parts, scope=parts),
        Row("length-64-as-16", "limits/large/*-128-kib limits/large/*-256-kib",
            scope="limits/large/*-*8-kib"),
        Row("send-once", "limits/large/*-16-mib", scope="limits/large/*-16-mib"),
        Row("frames-max=450", f"{flood}*", scope=kept),
        Row("empty-unanswered", f"{flood}empty-*", scope=kept),
        Row("any-length-awaited", claim, scope=kept),
        Row("idle-max-ms=300", f"{slow}idle-*", scope=f"{slow}*"),
        Row("idle-max-ms=1000", f"{slow}idle-2-s", scope=f"{slow}*"),
        Row("frame-max-ms=200", f"{slow}byte-by-byte", scope=f"{slow}*"),
    ]


def right_rows():
    """No fault: a server may cut its messages into fragments, and send Ping and Pong in between."""
    return [Row("", "", scope="*"), Row("legal-fragments", "", scope=ALL_BUT_LIMITS)]


class Programs:
    def __init__(self, wscheck, broken):
        self.wscheck, self.broken = wscheck, broken


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    programs = Programs(*sys.argv[1:3])
    glob = sys.argv[3] if len(sys.argv) == 4 else "*"
    listing = subprocess.run([programs.wscheck, "--list"], capture_output=True, text=True,
                             check=True)
    names = [line.split()[0] for line in listing.stdout.splitlines()]
    # Limits take the longest, so they come first; what is right is played alone, before all.
    rows = (limit_rows() + handshake_rows() + http_rows() + length_rows(names) + frame_rows(names) +
            message_rows(names) + closing_rows(names) + utf8_rows() + utf8_table_rows(names) +
            strict_rows())
    rows = [r for r in rows if fnmatch.fnmatchcase(r.fault, glob)]
    failed, lines = set(), []
    for row in right_rows() if glob == "*" else []:
        lines += row.judge(programs, names)[1]
    # Much of a row is waiting for what does not come.
    with concurrent.futures.ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        for bad, wrong in pool.map(lambda r: r.judge(programs, names), rows):
            failed |= bad
            lines += wrong
    if glob == "*":
        lines += [f"no fault fails {n}" for n in names if n not in failed]
    print("\n".join(lines + [f"{len(rows)} faults, {len(failed)} of {len(names)} cases failed, "
                             f"{len(lines)} things wrong"]))
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
