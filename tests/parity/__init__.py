"""What a Celery user must find here, and which tests prove it: ``make parity``.

A test names the rows that it proves: ``@pytest.mark.parity("C4")``. A row without a test fails, and so does one with a
test that fails.
"""
