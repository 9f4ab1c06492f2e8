"""The filter table of the older iptables, read from blocks of memory that a kernel gave."""

import base64
import zlib

import pytest

from calico.dataplane.foreign.rules import Act, ForeignRule, InterfaceMatch, Scope
from calico.dataplane.foreign.xtables import IPV4, IPV6, Form, parse_table

#: What the kernel says of the table, then its entries, after these commands:
#:   -P FORWARD DROP; -N DOCKER-USER; -A FORWARD -j DOCKER-USER
#:   -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
#:   -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
#:   -A FORWARD -p tcp --dport 80 -j ACCEPT
#:   -A FORWARD -s NETWORK -m comment --comment x -j LOG
#:   -A FORWARD -g DOCKER-USER; -A FORWARD -i eth0
#:   -A DOCKER-USER -o cali+ -j REJECT
#:   -A DOCKER-USER -m mark --mark 1 -j ACCEPT; -A DOCKER-USER -j RETURN
RECORDED4 = (
    r"c-l+L%qdANV!#RbfcQTUfY>vDxPu+Shlzb)Lx>3g`2su)Gy?@d7cgNF*C3$pAJnb1bQcR5?z+IiKvQ7Bn81k5T_+"
    r"fl^YijbiV~Bvv1wyw7<7OUh?%Gs?<x7o*{MYaIQhuw8yg?y7;@vCR_T!qN-qG$FgAA?Fq9-0;5Fg@{{V&nlKsKO3"
    r"DZqo|4d-KfHnOpFec~c=BDPA;LumWFtULIgO9&E9(fkJyNHP<<z#9}h5`Q6Ok74I*IggjXd7zey6Zn3>N}1>Sr2c"
    r"(ksn-xg8YMU>T~gT_I3@@4Gne;BFo<7#GFiRGU5Yw{06ytxjKj7GLP03H17H%H?b%icO}h;=GURxF8fUfcQFh~ca"
    r"fKW@XInV002{GkR<"
)
RECORDED6 = (
    r"c-l+L%qdANV!#RbfcQTUfY=v+xPcSGhly?AK!^zd`4jjV1{GKVbTtzWISm4O|3UpY*!;snrhhEB83r9FV4T5-%Re"
    r"U=lJoQON{SMbv$07t4?f>80x{EorL&a$<m}WU1Dt&1e2b0GfaH2g(%E3iH*Amy0fQSrHZK1dFq9-0;5F(0{{V&nl"
    r"Kuaefq@ghshHtUD{z95g9(@a6&REAb8}PkN^r<mFpO;Az~JNWjz^wl@Oyz}Fx4NaB^d?;^93F1Lr~jgIMwg}2Wfk"
    r"SV_3DnUf?MwT!VuAgK)~b_&a;M2I+<dy9Uw4t;vZwnc8Hg7yRik$kof$Ib<l6hxqIN+{B`6+>JU$w6Gd!{f6Iz)I"
    r"SWv%0J|nEBIv@7yv)bnj!"
)
INFO = 84


@pytest.mark.parametrize(
    ("form", "recorded", "tool"),
    [
        pytest.param(IPV4, RECORDED4, "iptables-legacy", id="ipv4"),
        pytest.param(IPV6, RECORDED6, "ip6tables-legacy", id="ipv6"),
    ],
)
def test_a_kernels_table_is_understood(form: Form, recorded: str, tool: str) -> None:
    blocks = zlib.decompress(base64.b85decode(recorded))

    table = parse_table(form, blocks[:INFO], blocks[INFO:])

    docker = InterfaceMatch(("docker0",))
    assert (table.tool, table.family, table.name) == (tool, form.family, "filter")
    assert dict(table.forwarding) == {"FORWARD": Act.ACCEPT}
    assert table.chains["FORWARD"] == (
        ForeignRule(Act.JUMP, "DOCKER-USER"),
        ForeignRule(Act.ACCEPT, scope=Scope.NARROW),
        ForeignRule(Act.ACCEPT, "", (docker,), (InterfaceMatch(("docker0",), negated=True),)),
        ForeignRule(Act.ACCEPT, scope=Scope.NARROW),
        ForeignRule(scope=Scope.SOME),
        ForeignRule(Act.GOTO, "DOCKER-USER"),
        ForeignRule(inputs=(InterfaceMatch(("eth0",)),)),
        ForeignRule(Act.DROP),
    )
    assert table.chains["DOCKER-USER"] == (
        ForeignRule(Act.DROP, outputs=(InterfaceMatch(("cali*",)),)),
        ForeignRule(Act.ACCEPT, scope=Scope.SOME),
        ForeignRule(Act.RETURN),
        ForeignRule(Act.RETURN),
    )
    assert set(table.chains) == {"INPUT", "FORWARD", "OUTPUT", "DOCKER-USER"}


@pytest.mark.parametrize(("length", "complete"), [(0, 0), (50, 0), (120, 0), (700, 3)])
def test_a_block_that_is_cut_off_is_read_as_far_as_it_goes(length: int, complete: int) -> None:
    blocks = zlib.decompress(base64.b85decode(RECORDED4))
    whole = parse_table(IPV4, blocks[:INFO], blocks[INFO:]).chains
    read = parse_table(IPV4, blocks[:INFO], blocks[INFO : INFO + length]).chains
    # A jump is read without its target if the chain's head is cut off.
    acts = [each.act for rules in read.values() for each in rules]
    assert acts == [each.act for name in read for each in whole[name][: len(read[name])]]
    assert len(acts) == complete
