#!/usr/bin/env python3
"""Draws the figures of the course: learn/figures/*.svg.

    learn/figures.py [--write]

Without --write it checks that the files are what it draws, and exits with 1 when one is not. The figures are lines and
text in the colour of the reader's page: black on light, white on dark.
"""
import argparse
import html
import pathlib
import sys

FIGURES = pathlib.Path(__file__).resolve().parent / "figures"

STYLE = """
    svg { color: #1f2328; }
    text { fill: currentColor; font: 15px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
    .code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 14px; }
    .small { font-size: 13px; }
    .bold { font-weight: bold; }
    .box, .line { stroke: currentColor; stroke-width: 1.5; fill: none; }
    .thin { stroke: currentColor; stroke-width: 1; stroke-dasharray: 4 4; fill: none; opacity: 0.7; }
    .one { stroke: #0969da; } .one-text { fill: #0969da; } .one-fill { fill: #0969da; opacity: 0.12; }
    .two { stroke: #bc4c00; } .two-text { fill: #bc4c00; } .two-fill { fill: #bc4c00; opacity: 0.12; }
    @media (prefers-color-scheme: dark) {
      svg { color: #e6edf3; }
      .one { stroke: #58a6ff; } .one-text, .one-fill { fill: #58a6ff; }
      .two { stroke: #f0883e; } .two-text, .two-fill { fill: #f0883e; }
    }
  """


class Figure:
    """An SVG of lines and text."""

    def __init__(self, width, height, title):
        self.width, self.height, self.title = width, height, title
        self.parts = []

    def text(self, x, y, text, style="", anchor="start"):
        self.parts.append(f'<text x="{x}" y="{y}" class="{style}" text-anchor="{anchor}">'
                          f"{html.escape(text, False)}</text>")

    def middle(self, x, y, text, style=""):
        self.text(x, y, text, style, "middle")

    def line(self, x1, y1, x2, y2, style="line", head=False):
        """With `head`, an arrow: two short strokes at its end."""
        self.parts.append(f'<path d="M{x1} {y1} L{x2} {y2}" class="{style}"/>')
        if head:
            length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
            ux, uy = (x2 - x1) / length, (y2 - y1) / length
            left = (x2 - 10 * ux + 5 * uy, y2 - 10 * uy - 5 * ux)
            right = (x2 - 10 * ux - 5 * uy, y2 - 10 * uy + 5 * ux)
            self.parts.append(f'<path d="M{left[0]:.1f} {left[1]:.1f} L{x2} {y2} L{right[0]:.1f} {right[1]:.1f}" '
                              f'class="{style.replace("thin", "line")}"/>')

    def arrow(self, x1, y1, x2, y2, style="line"):
        self.line(x1, y1, x2, y2, style, head=True)

    def path(self, points, style="line"):
        self.parts.append(f'<path d="M{" L".join(f"{x} {y}" for x, y in points)}" class="{style}"/>')

    def box(self, x, y, width, height, style="box"):
        self.parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" class="{style}"/>')

    def svg(self):
        body = "\n".join(f"  {part}" for part in self.parts)
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
                f'width="{self.width}" height="{self.height}" role="img">\n'
                f"  <title>{html.escape(self.title)}</title>\n  <style>{STYLE}</style>\n{body}\n</svg>\n")


def handshake():
    f = Figure(860, 440, "The opening handshake: connection, request, response, frames")
    left, right = 250, 720
    f.middle(left, 30, "client", "bold")
    f.middle(right, 30, "server", "bold")
    f.line(left, 42, left, 425, "thin")
    f.line(right, 42, right, 425, "thin")
    for top, height, name, note in ((55, 85, "TCP", "connect() and accept()"),
                                    (150, 125, "HTTP", "text: one head each"),
                                    (285, 135, "WebSocket", "frames, until a Close")):
        f.box(20, top, 190, height)
        f.text(34, top + 28, name, "bold")
        f.text(34, top + 50, note, "small")
    y = 72
    for to_server, label, style in ((True, "SYN", ""), (False, "SYN, ACK", ""), (True, "ACK", "")):
        a, b = (left, right) if to_server else (right, left)
        f.arrow(a, y, b, y + 10)
        f.middle((left + right) / 2, y - 2, label, style)
        y += 26
    f.arrow(left, 186, right, 200, "line one")
    f.middle((left + right) / 2, 180, "GET / HTTP/1.1 ... Sec-WebSocket-Key: dGhl...", "code one-text")
    f.arrow(right, 244, left, 258, "line two")
    f.middle((left + right) / 2, 238, "101 ... Sec-WebSocket-Accept: s3pP...", "code two-text")
    f.arrow(left, 318, right, 332, "line one")
    f.middle((left + right) / 2, 312, "81 85 37 fa 21 3d 7f 9f 4d 51 58", "code one-text")
    f.arrow(right, 374, left, 388, "line two")
    f.middle((left + right) / 2, 368, "81 05 48 65 6c 6c 6f", "code two-text")
    return f


def frame():
    f = Figure(900, 470, "The bits of a frame")
    cell, x0 = 50, 40
    f.text(x0, 30, "The first two bytes, bit by bit", "bold")
    fields = [("FIN", 1, ""), ("RSV1", 1, ""), ("RSV2", 1, ""), ("RSV3", 1, ""), ("opcode", 4, "one"), ("MASK", 1, ""),
              ("length", 7, "two")]
    bits, x, at = "1000000110000101", x0, 0
    for name, width, style in fields:
        if style:
            f.box(x, 50, cell * width, 70, f"{style}-fill")
        f.box(x, 50, cell * width, 70, "box")
        f.middle(x + cell * width / 2, 75, name, "small")
        for i in range(width):
            f.middle(x + cell * i + cell / 2, 106, bits[at + i], "code")
        x, at = x + cell * width, at + width
    f.middle(x0 + cell * 4, 143, "byte 81", "code")
    f.middle(x0 + cell * 12, 143, "byte 85", "code")
    f.line(x0 + cell * 8, 42, x0 + cell * 8, 128, "line")
    f.text(x0, 190, "The whole frame of “Hello”", "bold")
    parts = [("81 85", "header", 100, ""), ("", "longer length: 0, 2 or 8 bytes", 250, "two"),
             ("37 fa 21 3d", "masking key: 4 bytes", 200, ""), ("7f 9f 4d 51 58", "payload", 250, "one")]
    x = x0
    for code, name, width, style in parts:
        if style:
            f.box(x, 205, width, 44, f"{style}-fill")
        f.box(x, 205, width, 44, "box")
        f.middle(x + width / 2, 233, code or "none here", "code" if code else "small")
        f.middle(x + width / 2, 268, name, "small")
        x += width
    f.text(x0, 316, "opcode", "bold one-text")
    for i, (code, name) in enumerate((("0", "continuation"), ("1", "text"), ("2", "binary"), ("8", "Close"),
                                      ("9", "Ping"), ("10", "Pong"))):
        f.text(x0 + (i % 3) * 125, 342 + i // 3 * 24, code, "code")
        f.text(x0 + (i % 3) * 125 + 26, 342 + i // 3 * 24, name, "small")
    f.text(470, 316, "length", "bold two-text")
    for i, (code, name) in enumerate((("0 to 125", "this is the length"), ("126", "the length is in the next 2 bytes"),
                                      ("127", "the length is in the next 8 bytes"))):
        f.text(470, 342 + i * 24, code, "code")
        f.text(565, 342 + i * 24, name, "small")
    f.text(x0, 425, "The mask", "bold")
    for i, text in enumerate(("7f xor 37 = 48 H", "9f xor fa = 65 e", "4d xor 21 = 6c l", "51 xor 3d = 6c l",
                              "58 xor 37 = 6f o")):
        f.text(x0 + i * 168, 451, text, "code small")
    return f


def states():
    f = Figure(900, 460, "The states of a connection")
    boxes = {"head": (40, 70, "waits for the head", "open = false"), "open": (360, 70, "open", "open = true"),
             "closing": (360, 300, "closing", "closing = true"), "freed": (680, 300, "freed", "close(), free()")}
    for x, y, name, code in boxes.values():
        f.box(x, y, 190, 66)
        f.middle(x + 95, y + 28, name, "bold")
        f.middle(x + 95, y + 51, code, "code small")
    f.text(40, 36, "accept()", "code")
    f.arrow(75, 44, 75, 70)
    f.arrow(230, 103, 360, 103)
    f.middle(295, 92, "101 is sent", "small")
    f.arrow(455, 136, 455, 300)
    f.text(467, 200, "a Close, or a fault:", "small")
    f.text(467, 220, "our Close is sent, then FIN", "small")
    f.path([(135, 136), (135, 333), (350, 333)], "line")
    f.arrow(340, 333, 360, 333)
    f.text(147, 200, "a wrong request:", "small")
    f.text(147, 220, "the response is sent, then FIN", "small")
    f.arrow(550, 333, 680, 333)
    f.middle(615, 322, "client's FIN", "small")
    f.path([(550, 103), (775, 103), (775, 290)], "thin")
    f.arrow(775, 280, 775, 300)
    f.text(665, 92, "FIN without a Close, or an error", "small", "middle")
    f.line(40, 392, 870, 392, "thin")
    f.text(40, 418, "From step 9 on each state has a deadline:", "small bold")
    f.text(40, 441, "10 s for the head; open: a Ping after 30 s of silence, the end 20 s later; closing: 5 s", "small")
    return f


def message():
    f = Figure(900, 570, "The path of one message through the system calls")
    alice, kernel, server, bob = 110, 310, 550, 770
    for x, name, style in ((alice, "Alice's browser", "bold"), (kernel, "kernel", "bold"), (server, "server", "bold"),
                           (bob, "kernel, Bob's browser", "bold")):
        f.middle(x, 30, name, style)
    for x in (alice, kernel, bob):
        f.line(x, 42, x, 555, "thin")
    f.line(server, 42, server, 228, "thin")
    f.line(server, 350, server, 555, "thin")

    def arrow(y, a, b, label, style, line):
        f.arrow(a, y, b, y, line)
        f.middle((a + b) / 2, y - 8, label, style)

    arrow(80, alice, kernel, 'ws.send("hi")', "code one-text", "line one")
    arrow(125, kernel, server, "epoll_wait() returns", "code", "line")
    arrow(170, server, kernel, "read()", "code", "line")
    arrow(215, kernel, server, "81 82 37 fa 21 3d 5f 93", "code one-text", "line one")
    f.box(430, 230, 240, 118, "one-fill")
    for i, text in enumerate(("read_header(), unmask()", "handle_data(): it is whole", "publish(): once for each",
                              "member of /tea, into c->out")):
        f.middle(server, 256 + i * 26, text, "code small")
    arrow(400, server, bob, "send()", "code two-text", "line two")
    f.text(782, 396, "81 02 68 69", "code two-text")
    f.text(782, 418, "onmessage", "code small")
    arrow(445, server, kernel, "send()", "code two-text", "line two")
    arrow(490, kernel, alice, "81 02 68 69", "code two-text", "line two")
    arrow(535, server, kernel, "epoll_wait()", "code", "line")
    return f


def queue():
    f = Figure(900, 420, "A queue that fills up")
    left, bottom = 150, 350
    f.arrow(left, bottom, 870, bottom)
    f.text(842, bottom - 12, "time", "small")
    f.arrow(left, bottom, left, 40)
    f.text(left + 10, 42, "bytes in c->out", "small")
    for y, name, value in ((80, "OUT_MAX", "4 MiB"), (240, "OUT_HIGH", "64 KiB")):
        f.line(left, y, 860, y, "thin")
        f.text(30, y - 3, name, "code")
        f.text(30, y + 17, value, "small")
    f.path([(155, bottom - 2), (200, 325), (230, 335), (290, 240), (350, 170), (390, 190), (418, 240),
            (470, bottom - 2)], "line one")
    f.text(176, 374, "a client that reads slowly", "small one-text")
    f.text(168, 200, "above OUT_HIGH its", "small one-text")
    f.text(168, 218, "frames are not read", "small one-text")
    f.text(440, 268, "below it they are", "small one-text")
    f.text(454, 286, "read again", "small one-text")
    f.path([(560, bottom - 2), (640, 240), (740, 80)], "line two")
    f.text(560, 374, "a client that reads nothing, while its room goes on", "small two-text")
    f.path([(732, 72), (748, 88)], "line two")
    f.path([(732, 88), (748, 72)], "line two")
    f.text(650, 62, "it is given up: gone = true", "small two-text")
    f.text(30, 410, "not to scale", "small")
    return f


DRAWINGS = {"handshake": handshake, "frame": frame, "states": states, "message": message, "queue": queue}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    stale = 0
    for name, draw in DRAWINGS.items():
        path, text = FIGURES / f"{name}.svg", draw().svg()
        if options.write:
            FIGURES.mkdir(exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"{path.name} is not up to date; --write draws it")
            stale += 1
    print(f"{len(DRAWINGS)} figures, {stale} differences")
    sys.exit(stale > 0)


if __name__ == "__main__":
    main()
