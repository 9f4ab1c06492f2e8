"""Where Calico's tools disagree with each other, or with their documentation.

Every trap has one test of its name. `place` is where in Calico's data model it
lies: 1.1 the key tree, 1.2 endpoints, 1.4 profiles, 1.6 pools, 1.7 address
management, 1.9 BGP, 1.10 names and escaping, 2.1 rules, 3 Felix's dataplane,
3.10 its reports, 4 how etcd is followed.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Trap:
    """One disagreement; `test` is the function that holds us out of it."""

    place: str
    name: str
    test: str


MODEL, ADDRESSES, AGENT = "test_traps_model", "test_traps_addresses", "test_traps_agent"

TRAPS: dict[str, tuple[Trap, ...]] = {
    MODEL: (
        Trap(
            "1.1",
            "Felix 1.4 ignores the policies of a tier that has no metadata",
            "test_a_policy_counts_also_in_a_tier_without_metadata",
        ),
        Trap(
            "1.1",
            "Felix by itself drops what tasks send to their own host",
            "test_a_new_host_lets_its_executors_reach_their_agent",
        ),
        Trap("1.2", "null is no MAC to Felix 1.4", "test_a_mac_is_never_null"),
        Trap(
            "1.2",
            "pycalico fails at an endpoint that lacks one of five fields",
            "test_the_five_fields_that_pycalico_needs_are_always_there",
        ),
        Trap(
            "1.2",
            "pycalico drops fields that it does not know when it rewrites an endpoint",
            "test_nothing_of_ours_is_lost_when_calicoctl_rewrites_an_endpoint",
        ),
        Trap(
            "1.2",
            "an interface is named by 11 characters of the endpoint's id",
            "test_interfaces_of_tasks_that_are_named_alike_differ",
        ),
        Trap(
            "1.4",
            "the documentation names the lists of rules wrongly",
            "test_lists_of_rules_as_the_old_documentation_names_them_close",
        ),
        Trap(
            "1.9",
            "one host without ip_addr_v4 fails BIRD's configuration on every node",
            "test_the_directory_of_a_bgp_host_begins_with_its_address",
        ),
        Trap(
            "1.10",
            "Felix 1.4 rejects an id that is escaped",
            "test_no_id_of_ours_needs_escaping",
        ),
        Trap(
            "1.10",
            "etcd hides keys that begin with an underscore",
            "test_no_name_begins_with_an_underscore",
        ),
        Trap(
            "1.10",
            "a host by its full and by its short name is two hosts",
            "test_a_host_under_another_spelling_of_its_name_is_told_and_not_served",
        ),
        Trap(
            "2.1",
            "calicoctl fails at a profile that names a family",
            "test_no_profile_names_a_family_while_all_is_ipv4",
        ),
        Trap(
            "2.1",
            "lists of networks are unknown to Felix 1.4, which drops the profile",
            "test_lists_of_networks_are_read_and_never_written",
        ),
        Trap(
            "2.1",
            "Felix 1.4 turns ports of SCTP into a drop",
            "test_ports_of_sctp_are_enforced_and_never_written",
        ),
        Trap(
            "2.1",
            "Felix 1.4 leaves a network out in the chain of the other family",
            "test_a_network_of_one_family_opens_nothing_in_the_other",
        ),
        Trap(
            "2.1",
            "Felix 1.4 turns an ICMP type into a drop in the chain of the other family",
            "test_echo_cuts_no_opening_in_either_family",
        ),
        Trap(
            "2.1",
            "next-tier in a profile is said to allow, and drops",
            "test_next_tier_closes_and_is_never_written",
        ),
    ),
    ADDRESSES: (
        Trap(
            "1.6",
            "pycalico may list a disabled pool among those in use",
            "test_a_disabled_pool_gives_no_address",
        ),
        Trap(
            "1.7",
            "each family reads only its own spelling of the strict flag",
            "test_a_block_is_strict_in_either_spelling_and_written_in_both",
        ),
        Trap(
            "1.7",
            "the documentation calls the handle of an address `primary`",
            "test_an_owner_as_the_documentation_spells_it_is_nobody_and_keeps_its_address",
        ),
        Trap(
            "1.7",
            "Go cannot read attributes that are no text",
            "test_attributes_of_an_address_are_text",
        ),
        Trap("1.7", "Python needs a handle's id inside it", "test_a_handle_has_its_id_inside"),
        Trap(
            "1.7",
            "auto-assign may return fewer addresses without an error",
            "test_too_few_addresses_are_an_error",
        ),
        Trap(
            "1.7",
            "assigning an address twice to one handle is an error",
            "test_a_fixed_address_is_assigned_twice_as_once",
        ),
        Trap(
            "1.7",
            "Go leaves out what is false, and Python fails without it",
            "test_the_choice_for_blocks_is_written_in_full_and_read_with_gaps",
        ),
        Trap(
            "1.7",
            "a late release by address frees the next owner's",
            "test_a_late_release_leaves_the_next_owner_alone",
        ),
    ),
    AGENT: (
        Trap(
            "3.3",
            "Felix 2.x does not open DNS on the host by itself",
            "test_dns_on_the_host_is_open_by_name_of_its_port",
        ),
        Trap(
            "3.3",
            "two owners of one host's interfaces fight",
            "test_a_second_agent_refuses_to_start",
        ),
        Trap(
            "3.6",
            "a task's MTU is left at 1500 whatever the path carries",
            "test_a_task_s_mtu_is_that_of_its_host_s_path",
        ),
        Trap(
            "3.7",
            "a set above its limit is silently not updated",
            "test_a_set_has_no_limit_of_its_own",
        ),
        Trap(
            "3.8",
            "Felix 1.x reads only the first of the kernel's messages that come together",
            "test_every_message_that_came_in_one_datagram_is_read",
        ),
        Trap(
            "3.10",
            "one status per second delays a mass start",
            "test_a_hundred_statuses_are_told_at_once",
        ),
        Trap(
            "4.2",
            "etcd remembers 1000 events of the whole store, whoever wrote them",
            "test_what_was_missed_while_others_wrote_is_listed_anew",
        ),
        Trap(
            "4.3",
            "an etcd that was restored from a backup goes back unnoticed",
            "test_a_restored_etcd_is_not_believed",
        ),
    ),
}
