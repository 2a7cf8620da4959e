"""The API of the whole farm: pausing it all."""

from __future__ import annotations

from server.disk.speech import say
from server.web.api.table import Route, ref
from server.web.requests import Answer, Call
from server.web.services import Services


def pause_farm(services: Services, call: Call) -> Answer:
    stop = bool(call.body.get("stop"))
    services.farm.machines.pause_all(True, stop)
    then = say("what rendered is given back") if stop else say("frames that render now are finished")
    return Answer({"paused": True}, say("The farm is paused: {then}.", then=then))


def resume_farm(services: Services, call: Call) -> Answer:
    services.farm.machines.pause_all(False)
    return Answer({"paused": False}, say("The farm goes on."))


ROUTES = [
    Route("POST", "/api/farm/pause", pause_farm, "give out no more frames", role="supervisor",
          body=ref("FarmPause"), data=ref("FarmState"), tag="farm"),
    Route("POST", "/api/farm/resume", resume_farm, "give out frames again", role="supervisor",
          data=ref("FarmState"), tag="farm"),
]  # fmt: skip
