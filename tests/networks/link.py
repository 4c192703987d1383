# SPDX-License-Identifier: MIT
"""Two network namespaces, and a bad link between them.

Each end of the link is a TUN device in its namespace. A thread reads the IP packets that the kernel sends into one end,
and writes them into the other end: late, in another order, or not at all. So both sides have the kernel's own TCP, as
with tc-netem(8), which many kernels do not have.

The namespaces have no names: they are gone when the process ends, however it ends. Needs root.
"""
import contextlib
import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import socket
import struct
import threading
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 0x0001, 0x1000
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFMTU = 0x8914, 0x8916, 0x891c, 0x8922
IFF_UP, IFF_RUNNING = 0x1, 0x40
NAMESPACE = "/proc/thread-self/ns/net"
QUEUE_SECONDS = 30  # a packet that would wait longer for a slow line is dropped

libc = ctypes.CDLL(None, use_errno=True)


def checked(result):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


class Namespace:
    """A network of its own. Inside `with`, what this thread opens and starts is in it."""

    def __init__(self):
        self.outside = os.open(NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        checked(libc.unshare(CLONE_NEWNET))
        self.inside = os.open(NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        set_up("lo", True)
        checked(libc.setns(self.outside, CLONE_NEWNET))

    def __enter__(self):
        checked(libc.setns(self.inside, CLONE_NEWNET))

    def __exit__(self, *_):
        checked(libc.setns(self.outside, CLONE_NEWNET))


def configure(request, name, value):
    """One of the ioctls of netdevice(7), on a device of this namespace."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as any_socket:
        fcntl.ioctl(any_socket, request, struct.pack("16s24s", name.encode(), value))


def set_up(name, up):
    configure(SIOCSIFFLAGS, name, struct.pack("h", IFF_UP | IFF_RUNNING if up else 0))


def ipv4(address):
    return struct.pack("HH4s", socket.AF_INET, 0, socket.inet_aton(address))


class End:
    """One end of a link: a TUN device in a namespace."""

    NAME = "link"

    def __init__(self, address, mtu):
        self.namespace = Namespace()
        with self.namespace:
            self.descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(self.descriptor, TUNSETIFF, struct.pack("16sH22x", self.NAME.encode(), IFF_TUN | IFF_NO_PI))
            configure(SIOCSIFADDR, self.NAME, ipv4(address))
            configure(SIOCSIFNETMASK, self.NAME, ipv4("255.255.255.0"))
            configure(SIOCSIFMTU, self.NAME, struct.pack("i", mtu))
            set_up(self.NAME, True)

    def set_up(self, up):
        with self.namespace:
            set_up(self.NAME, up)


class Link:
    """`server` and `client` are the ends. All other attributes may be changed at any time.

    delay    seconds, in each direction
    loss     the part of the packets that is lost, in each direction
    reorder  the part of the packets that takes `detour` seconds more, so that later ones overtake them
    rate     bits per second for each TCP connection and direction; None: any
    cut      nothing passes
    """

    def __init__(self, delay=0.0, loss=0.0, reorder=0.0, detour=0.03, rate=None, mtu=1500, seed=1):
        self.delay, self.loss, self.reorder, self.detour, self.rate = delay, loss, reorder, detour, rate
        self.cut = False
        self.passed = self.lost = self.overtaken = 0
        self.random = random.Random(seed)
        self.server, self.client = End("10.0.0.1", mtu), End("10.0.0.2", mtu)
        self.line_free = {}  # TCP ports and direction: when the line has sent what was sent into it
        self.queue = []
        self.number = itertools.count()
        threading.Thread(target=self.carry, daemon=True).start()

    def carry(self):
        other = {self.server.descriptor: self.client.descriptor, self.client.descriptor: self.server.descriptor}
        while True:
            wait = max(0, self.queue[0][0] - time.monotonic()) if self.queue else None
            for end in select.select(list(other), [], [], wait)[0]:
                self.take_packets(end, other[end])
            while self.queue and self.queue[0][0] <= time.monotonic():
                self.deliver(*heapq.heappop(self.queue)[2:])

    def take_packets(self, source, target):
        with contextlib.suppress(OSError):  # none is left, or the device is down
            while True:
                self.take_packet(os.read(source, 65536), target)

    def take_packet(self, packet, target):
        if packet[0] >> 4 != 4:
            return  # the kernel looks for IPv6 routers
        now = time.monotonic()
        at = self.line_end(packet, target, now)
        if self.cut or at is None or self.random.random() < self.loss:
            self.lost += 1
            return
        at += self.delay
        if self.random.random() < self.reorder:
            self.overtaken += 1
            at += self.detour
        heapq.heappush(self.queue, (at, next(self.number), packet, target))

    def line_end(self, packet, target, now):
        """When the line has sent the packet; None: the line is too far behind."""
        if self.rate is None:
            return now
        header = (packet[0] & 0x0f) * 4
        line = packet[header:header + 4], target
        begin = max(now, self.line_free.get(line, 0))
        if begin - now > QUEUE_SECONDS:
            return None
        self.line_free[line] = begin + len(packet) * 8 / self.rate
        return self.line_free[line]

    def deliver(self, packet, target):
        if self.cut:
            self.lost += 1
            return
        with contextlib.suppress(OSError):  # the device is down
            os.write(target, packet)
            self.passed += 1
