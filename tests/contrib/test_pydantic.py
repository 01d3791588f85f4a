import pytest
from pydantic import BaseModel, ValidationError

from longshore import Longshore
from longshore.exceptions import ImproperlyConfigured


class Order(BaseModel):
    article: str
    count: int = 1


@pytest.fixture
def app():
    return Longshore("models", set_as_current=False, broker="sqlite://", task_eager_propagates=True)


def test_arguments_become_models_and_a_returned_model_becomes_json(app):
    @app.task(pydantic=True)
    def double(order: Order, *more: Order, note: str = "", **named: Order) -> Order:
        assert all(isinstance(one, Order) for one in (order, *more, *named.values()))
        return Order(article=order.article, count=sum(one.count for one in (order, *more, *named.values())))

    tea = {"article": "tea"}
    assert double.apply((tea, tea), {"note": "x", "last": tea}).get() == {"article": "tea", "count": 3}


TEA = {"article": "tea"}


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        ("Order | None", None, None),
        ("Order | None", TEA, Order(article="tea")),
        ("list[Order]", [TEA], [Order(article="tea")]),
        ("dict[str, Order]", {"k": TEA}, {"k": Order(article="tea")}),
    ],
)
def test_string_annotations_and_models_inside_others_count(app, annotation, given, expected):
    seen = []

    def take(orders):
        seen.append(orders)

    take.__annotations__["orders"] = annotation
    app.task(pydantic=True)(take).apply((given,)).get()
    assert seen == [expected]


def test_what_does_not_validate_fails_the_task_with_the_field(app):
    @app.task(pydantic=True, pydantic_strict=True, bind=True)
    def ship(self, order: Order):
        return self.request.id

    with pytest.raises(ValidationError, match="count"):
        ship.apply(({"article": "tea", "count": "1"},))
    with pytest.raises(TypeError, match="missing a required argument: 'order'"):
        ship.delay()


def test_a_coroutine_function_may_take_models(app):
    @app.task(pydantic=True, pydantic_dump_kwargs={"exclude": {"count"}})
    async def ship(order: Order) -> Order:
        return order

    assert ship.apply(({"article": "tea"},)).get() == {"article": "tea"}


def test_an_annotation_that_names_nothing_is_said(app):
    def ship(order):
        return order

    ship.__annotations__["order"] = "Nowhere"
    with pytest.raises(ImproperlyConfigured, match="'Nowhere' is not defined"):
        app.task(pydantic=True)(ship).apply((1,))


def test_a_task_that_does_not_ask_for_it_gets_what_was_sent(app):
    @app.task
    def ship(order: Order):
        return order

    assert ship.apply(({"article": "tea"},)).get() == {"article": "tea"}
