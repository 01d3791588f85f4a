"""The board says what a child holds as soon as that is nothing: an idle worker that looks busy is never scaled in."""

from longshore.worker.about import About, about
from longshore.worker.board import Board


def test_what_is_held_is_seen_when_a_task_starts_and_at_once_when_it_is_nothing():
    board = Board(2)
    pen = board.pen(1)
    pen.ready()
    pen.holding(3)
    pen.start("id-1")
    assert (board.read(1).held, board.read(1).busy, board.read(1).task_id) == (3, True, "id-1")
    pen.end(failed=False)
    pen.holding(0)
    assert (board.read(1).held, board.read(1).busy, board.read(1).processed) == (0, False, 1)
    assert board.read(0).held == 0


def test_a_name_longer_than_its_place_is_cut_and_harms_nothing_beside_it():
    board = Board(2)
    board.pen(0).parked("a.very.long.name." * 40)
    board.pen(0).start("i" * 1000)
    assert board.read(0).unknown_task.startswith("a.very.long.name.")
    assert len(board.read(0).task_id) == 256
    assert board.read(1).unknown_task == ""
    assert board.read(1).task_id is None


def test_a_run_says_what_it_is():
    board = Board(1)
    headers = {"argsrepr": "(1, 'é')", "kwargsrepr": "{}"}
    board.pen(0).start("id-1", about("shop.add", "orders", headers, 3, "ra"))
    assert board.read(0).about == About("shop.add", "orders", 3, True, True, "(1, 'é')", "{}")
    board.pen(0).start("id-2", about("shop.add", "orders", {"argsrepr": "x" * 9000}, None, ""))
    assert board.read(0).about == About("shop.add", "orders", None, False, False, board.read(0).about.args, "")
    board.clear_run(0)
    assert board.read(0).about is None


def test_rows_are_added_and_used_again_and_their_totals_stay():
    board = Board(1)
    row = board.add()
    assert (row, board.slots, board.capacity) == (1, 2, 2)
    board.pen(1).end(failed=True)
    board.retire(1)
    assert (board.slots, board.capacity, board.read(1).failed) == (2, 1, 1)
    assert board.add() == 1
    board.pen(1).end(failed=False)
    assert board.read(1).processed == 2
    while board.add() is not None:
        pass
    assert board.capacity == board.slots == 257


def test_the_logical_clock_runs_past_what_was_seen():
    board = Board(1)
    assert [board.tick(), board.tick(), board.tick(41), board.tick(7)] == [1, 2, 42, 43]
    board.events_wanted = True
    assert board.events_wanted
    assert board.read(0).processed == 0
