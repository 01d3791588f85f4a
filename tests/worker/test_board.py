"""The board says what a child holds as soon as that is nothing: an idle worker that looks busy is never scaled in."""

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
