"""JSON text in the datastore <-> values of `model`; pure.

The only place that knows the JSON. It accepts what both families of Calico's
writers wrote, writes what both accept, and raises InvalidValue for the rest.
"""

from calico.codec.cluster import (
    decode_chain,
    decode_cluster,
    decode_hold,
    decode_leader,
    decode_objection,
    encode_chain,
    encode_cluster,
    encode_hold,
    encode_leader,
    encode_objection,
)
from calico.codec.endpoint import decode_endpoint, decode_status, encode_endpoint, encode_status
from calico.codec.ipam import (
    decode_block,
    decode_handle,
    decode_ipam_config,
    decode_pool,
    encode_block,
    encode_handle,
    encode_ipam_config,
    encode_pool,
    handle_writer,
)
from calico.codec.policy import decode_host_endpoint, decode_policy
from calico.codec.profile import (
    NO_LABELS,
    decode_labels,
    decode_profile,
    decode_rules,
    decode_tags,
    encode_rules,
    encode_tags,
)
from calico.codec.records import (
    decode_applied,
    decode_host,
    decode_task,
    encode_applied,
    encode_host,
    encode_task,
)

__all__ = [
    "NO_LABELS",
    "decode_applied",
    "decode_block",
    "decode_chain",
    "decode_cluster",
    "decode_endpoint",
    "decode_handle",
    "decode_hold",
    "decode_host",
    "decode_host_endpoint",
    "decode_ipam_config",
    "decode_labels",
    "decode_leader",
    "decode_objection",
    "decode_policy",
    "decode_pool",
    "decode_profile",
    "decode_rules",
    "decode_status",
    "decode_tags",
    "decode_task",
    "encode_applied",
    "encode_block",
    "encode_chain",
    "encode_cluster",
    "encode_endpoint",
    "encode_handle",
    "encode_hold",
    "encode_host",
    "encode_ipam_config",
    "encode_leader",
    "encode_objection",
    "encode_pool",
    "encode_rules",
    "encode_status",
    "encode_tags",
    "encode_task",
    "handle_writer",
]
