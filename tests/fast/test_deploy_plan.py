"""The plans of one host, without an engine: what is done, in which order, and that being killed
anywhere does no harm.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.configuration import configuration
from deploy.engine.docker_engine import Container
from deploy.engine.labels import ANCHOR, LABEL, OWNER, PREFLIGHT, REPLICA, labels
from deploy.errors import NotDeployedError, OwnedError
from deploy.host import plan
from deploy.host.plan import MakeAnchor, MarkLeaving, Retire, StartAnchor, StartReplicas
from deploy.host.specs import LEAVING
from deploy.host.state import State, anchor_of
from deploy.release.inventory import Inventory
from deploy.release.release import Release
from deploy.steps import Accept, Forget, Note, Record, Remove, after, pruning
from deploy.verbs.ownership import check_owner, owner_here

NOTHING = State(Inventory("scoring"))


def release(name, replicas=1, port=8080, created=1.0):
    config = configuration({"name": "scoring", "replicas": replicas, "port": port})
    return Release(name, f"sha256:{name}", config, "c" * 64, created)


OLD, NEW = release("old"), release("new", replicas=2)


def up(*releases):
    """What runs when releases were rolled out one after the other."""
    state = NOTHING
    for each in releases:
        state = plan.after(state, [Record(each, passing=True)])
        state = plan.after(state, plan.steps(state, each, afresh=True))
    return state


def kinds(steps):
    return [type(step) for step in steps]


def replica(generation, state="running", wanted=2, release="new"):
    found = {"generation": generation, "replicas": wanted, "release": release}
    texts = {LABEL + key: str(value) for key, value in found.items()}
    return Container("id", "name", state, "image", {**texts, **labels("scoring", REPLICA)})


@pytest.mark.parametrize(
    ("replicas", "serving"),
    [
        ([], 0),
        ([replica(3), replica(3)], 3),
        ([replica(3), replica(3), replica(4)], 3),
        ([replica(3), replica(3), replica(4), replica(4)], 3),
        ([replica(3), replica(4), replica(4)], 4),
        ([replica(3), replica(3, "exited"), replica(4), replica(4)], 4),
        ([replica(3, "exited"), replica(3, "exited")], 3),
    ],
)
def test_an_interrupted_rollout_goes_back_while_the_old_is_whole_and_on_once_it_is_not(
    replicas, serving
):
    """Nothing is retired before every new replica is ready."""
    assert State(Inventory("scoring", tuple(replicas))).serving == serving


def test_the_first_release_publishes_the_port_and_retires_nobody():
    """It has nobody before it."""
    steps = plan.steps(NOTHING, NEW, afresh=True)
    assert kinds(steps) == [MakeAnchor, StartReplicas, Accept]
    assert steps[1].names == ["scoring-1-0", "scoring-1-1"]
    assert steps[1].anchor == steps[0].name
    assert steps[1].previous == ""


def test_a_rollout_starts_the_new_beside_the_old_and_retires_the_old_last():
    """The anchor stays; what is old is marked before it is stopped, and remembered."""
    steps = plan.steps(up(OLD), NEW, afresh=True)
    assert kinds(steps) == [StartReplicas, Accept, MarkLeaving, Retire]
    assert steps[0].previous == "old"
    assert steps[-1].text == "Retiring scoring-1-0 (release old)"
    state = plan.after(up(OLD), steps)
    assert (state.release, state.previous, len(state.replicas)) == ("new", "old", 2)


def test_the_same_release_once_more_is_a_rollout_that_keeps_the_one_before():
    """So rolling back means the same afterwards."""
    state = up(OLD, NEW, NEW)
    assert (state.release, state.previous, state.latest) == ("new", "old", 3)


def test_rolling_back_and_scaling_are_the_same_plan():
    """Of another release, or of the same image with another number of replicas."""
    back = plan.steps(up(OLD, NEW), OLD, afresh=True)
    more = plan.steps(up(OLD), release("more", replicas=3), afresh=True)
    assert kinds(back) == [StartReplicas, Accept, MarkLeaving, Retire, Retire]
    assert kinds(more) == [StartReplicas, Accept, MarkLeaving, Retire]
    assert len(more[0].names) == 3


def test_a_move_to_another_port_closes_the_old_one_last():
    """A second anchor, and afterwards only that."""
    steps = plan.steps(up(OLD), release("moved", port=81), afresh=True)
    assert kinds(steps) == [MakeAnchor, StartReplicas, Accept, MarkLeaving, Retire, Remove]
    (anchor,) = plan.after(up(OLD), steps).anchors
    assert anchor.label("port") == "81"


def test_what_is_sound_is_left_alone():
    """Healing has no step then."""
    assert plan.steps(up(OLD, NEW), NEW, afresh=False) == []


def test_leftovers_are_removed():
    """A preflight that nobody ended."""
    left = Container("x", "scoring-preflight-x", "running", "i", labels("scoring", PREFLIGHT))
    state = up(OLD)
    inventory = replace(state.inventory, containers=(*state.inventory.containers, left))
    steps = plan.steps(State(inventory), OLD, afresh=False)
    assert [step.text for step in steps] == [
        "Removing scoring-preflight-x, left by a deployment that was interrupted"
    ]


def test_a_replica_that_has_ended_is_replaced_with_its_generation():
    """And nothing is done afterwards."""
    state = ended(up(NEW), lambda each: each.name == "scoring-1-1")
    steps = plan.steps(state, NEW, afresh=False)
    assert kinds(steps) == [Note, StartReplicas, Accept, MarkLeaving, Retire, Retire]
    assert plan.steps(plan.after(state, steps), NEW, afresh=False) == []


def ended(state, which):
    """The same, but some of the containers have ended."""
    containers = []
    for each in state.inventory.containers:
        containers.append(replace(each, state="exited") if which(each) else each)
    return State(Inventory("scoring", tuple(containers)))


def test_an_anchor_that_has_ended_is_started():
    """And its replicas are replaced."""
    state = ended(up(OLD), lambda each: each.label("role") == ANCHOR)
    steps = plan.steps(state, OLD, afresh=False)
    assert kinds(steps)[:3] == [Note, StartAnchor, StartReplicas]


@pytest.mark.parametrize(("port", "gap"), [(8080, True), (81, False)])
def test_what_an_earlier_version_has_published_is_replaced_and_says_so(port, gap):
    """Two containers cannot publish one port: its anchor goes first, and only where it has to."""
    former = up(OLD)
    containers = []
    for each in former.inventory.containers:
        known = {LABEL + "lends", LABEL + "anchor"}
        kept = {key: text for key, text in each.labels.items() if key not in known}
        containers.append(replace(each, labels=kept))
    former = State(Inventory("scoring", tuple(containers)))
    steps = plan.steps(former, release("new", port=port), afresh=True)
    first = [Note, Remove] if gap else []
    last = [] if gap else [Remove]
    between = [MakeAnchor, StartReplicas, Accept, MarkLeaving, Retire]
    assert kinds(steps) == [*first, *between, *last]
    assert len(plan.after(former, steps).anchors) == 1


def test_removal_lets_requests_end_before_the_port_is_closed():
    """Replicas first, the anchor last."""
    steps = plan.removal(up(OLD, NEW))
    assert kinds(steps) == [MarkLeaving, Retire, Retire, Remove]
    assert plan.after(up(OLD, NEW), steps).replicas == []


@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from([80, 81])), min_size=1, max_size=4),
    st.integers(0, 30),
)
def test_killed_at_any_step_one_whole_generation_is_left_to_answer(rollouts, cut):
    """And the next command heals it in one go: one generation, on one anchor, nothing beside it."""
    wanted = [
        release(f"r{at}", replicas, port, created=at)
        for at, (replicas, port) in enumerate(rollouts)
    ]
    state = up(*wanted[:-1])
    state = plan.after(state, [Record(wanted[-1], passing=True)])
    steps = plan.steps(state, wanted[-1], afresh=True)
    killed = plan.after(state, steps[:cut])
    whole = [
        replicas
        for replicas in killed.generations.values()
        if len(replicas) >= int(replicas[0].label("replicas"))
    ]
    assert whole or not state.replicas
    if not killed.release:
        assert plan.after(killed, plan.mending(killed)).anchors == []
        return
    serving = killed.inventory.kept(killed.release)
    healed = plan.after(killed, plan.steps(killed, serving, afresh=False))
    assert len(healed.generations) == len(healed.anchors) == 1
    assert healed.serves(serving)
    assert {anchor_of(each) for each in healed.replicas} == {healed.anchors[0].name}
    assert not [each for each in healed.replicas if each.name.endswith(LEAVING)]
    assert plan.steps(healed, serving, afresh=False) == []


def test_releases_beyond_retain_are_forgotten_oldest_first():
    """But never one that is needed."""
    known = [release(f"r{at}", created=at) for at in range(5)]
    inventory = after(Inventory("scoring"), [Record(each, passing=True) for each in known])
    assert inventory.releases == known
    assert pruning(inventory, 3, {"r0", "r4"}) == [Forget(known[1]), Forget(known[2])]
    assert pruning(inventory, 9, set()) == []


def test_a_release_is_found_by_its_first_digits():
    """As long as they name one; else the message lists those that are kept."""
    known = [release("abc1"), release("abd2")]
    inventory = after(Inventory("scoring"), [Record(each, passing=True) for each in known])
    assert inventory.kept("abc") == known[0]
    for ambiguous in ("ab", "x", ""):
        with pytest.raises(NotDeployedError, match=r"that is kept \(abc1, abd2\), got"):
            inventory.kept(ambiguous)


def test_what_another_has_deployed_is_touched_only_when_told():
    """One sentence says whose it is. What nobody has claimed, and an empty name, is anybody's."""
    mark = Container("o", "scoring-owner", "created", "i", labels("scoring", OWNER, owner="a:/one"))
    claimed = Inventory("scoring", (*up(OLD).inventory.containers, mark))
    with pytest.raises(
        OwnedError, match=r"^scoring: deployed by a:/one, not by a:/two, .*take-over"
    ):
        check_owner(claimed, "a:/two", take_over=False)
    check_owner(claimed, "a:/two", take_over=True)
    check_owner(claimed, "a:/one", take_over=False)
    check_owner(up(OLD).inventory, "a:/two", take_over=False)
    check_owner(Inventory("scoring", (mark,)), "a:/two", take_over=False)


def test_an_owner_is_a_folder_or_what_the_environment_names(tmp_path):
    """A link to a folder is the folder."""
    (tmp_path / "link").symlink_to(tmp_path)
    assert owner_here(tmp_path / "link", {}) == owner_here(tmp_path, {})
    assert owner_here(tmp_path, {}).endswith(f":{tmp_path}")
    assert owner_here(tmp_path, {"DEPLOY_OWNER": "team-a"}) == "team-a"
