"""The tools of a consumer's project."""

from pitcrew import tool


@tool
def report(a, b, who):
    return {"sum": a + b, "who": who}


@tool
def fail():
    raise LookupError("nothing here")
