"""The addresses that the `http` task may connect to: public ones, private ones if allowed by the operator, never metadata services.

The name is resolved once, all of its addresses must be allowed, and the connection goes to a checked address. A name that resolves
differently a moment later (DNS rebinding) therefore gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket

from jobyard.engine.tasks.context import Unrecoverable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NEVER: tuple[Network, ...] = tuple(
    map(
        ipaddress.ip_network,
        (
            "169.254.0.0/16", "fe80::/10",  # link-local: AWS, ECS, EKS, Google, Azure, OpenStack, Tencent
            "fd00:ec2::/32",  # AWS and EKS pod identity
            "fd20:ce::254/128",  # Google
            "168.63.129.16/32",  # Azure's host, formally a public address
            "192.0.0.192/32",  # Oracle
            "100.100.100.200/32",  # Alibaba
        ),
    )
)  # fmt: skip
"""Metadata and credential services of clouds, which give secrets to any client."""

NOT_PUBLIC: tuple[Network, ...] = tuple(
    map(ipaddress.ip_network, ("fec0::/10", "64:ff9b:1::/48", "5f00::/16", "3fff::/20", "2001:20::/28", "2001:db8::/32"))
)
"""Ranges that some versions of the standard library consider global: site-local, local NAT64, segment routing, documentation,
ORCHID."""

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")


def resolve(host: str, port: int, *, allow_private: bool) -> list[tuple[str, int]]:
    """Every address of the host, in the system's order of preference; raises `Unrecoverable` unless all are allowed."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (ValueError, UnicodeError) as wrong:
        raise Unrecoverable(f"url has an invalid host or port: {wrong}") from None
    addresses = [_plain(ipaddress.ip_address(str(item[4][0]).partition("%")[0])) for item in found]
    for address in addresses:
        if _is_in(address, NEVER):
            raise Unrecoverable(f"{host} resolves to {address}, not a public address: metadata services are always blocked")
        if not allow_private and not _is_public(address):
            raise Unrecoverable(f"{host} resolves to {address}, not a public address (HTTP_ALLOW_PRIVATE=1 allows private ones)")
    return [(str(address), port) for address in dict.fromkeys(addresses)]


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 address embeds, if any; otherwise the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64 or address in IPV4_COMPATIBLE and int(address) > 1:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def _is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved and not _is_in(address, NOT_PUBLIC)


def _is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
