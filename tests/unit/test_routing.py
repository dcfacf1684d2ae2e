"""First match wins, and the reason for each route that was passed over is told."""

from medfake_pacs.config import RouteSettings
from medfake_pacs.entities import ImageAttributes
from medfake_pacs.routing import choose_route


def image(**fields: str) -> ImageAttributes:
    return ImageAttributes(
        sop_class_uid="1",
        sop_instance_uid="1",
        study_instance_uid="1",
        series_instance_uid="1",
        **fields,  # type: ignore[arg-type]
    )


def route(name: str, **conditions: object) -> RouteSettings:
    return RouteSettings.model_validate({"name": name, **conditions})


CHEST = route("chest CT", **{"from": ["PACS1"]}, modality=["CT"], body_part=["CHEST", "LUNG"], model="lung-ct")
KNEE = route("knee", modality=["CR", "DX"], body_part=["KNEE"], model="knee-xr")
REST = route("rest", modality=["CT"])
ROUTES = (CHEST, KNEE, REST)


def test_every_condition_must_hold_and_the_first_match_wins() -> None:
    found = choose_route(ROUTES, image(modality="CT", body_part="CHEST"), "PACS1", "MEDFAKE")
    assert (found.name, found.model, found.reason) == ("chest CT", "lung-ct", "")
    assert choose_route(ROUTES, image(modality="CT", body_part="CHEST"), "OTHER", "MEDFAKE").name == "rest"


def test_case_does_not_matter() -> None:
    assert choose_route(ROUTES, image(modality="dx", body_part="Knee"), "X", "Y").name == "knee"


def test_descriptions_stand_in_for_an_absent_body_part_by_whole_words() -> None:
    assert choose_route(ROUTES, image(modality="DX", study_description="XR Knee left 2 views"), "X", "Y").name == "knee"
    assert choose_route(ROUTES, image(modality="DX", study_description="XR kneecap"), "X", "Y").route is None
    ankle = image(modality="DX", body_part="ANKLE", study_description="knee and ankle")
    assert choose_route(ROUTES, ankle, "X", "Y").route is None


def test_called_ae_title_and_description_are_conditions() -> None:
    routes = (route("a", called=["MEDFAKE_CT"]), route("b", description=["screening"]))
    assert choose_route(routes, image(), "X", "MEDFAKE_CT").name == "a"
    assert choose_route(routes, image(series_description="Lung SCREENING low dose"), "X", "MEDFAKE").name == "b"


def test_a_route_without_a_model_says_so() -> None:
    found = choose_route(ROUTES, image(modality="CT"), "X", "Y")
    assert found.reason == "route 'rest' has no model"


def test_no_match_explains_every_route() -> None:
    found = choose_route(ROUTES, image(modality="MR"), "PACS1", "MEDFAKE")
    assert found.reason == "no route matches this image"
    assert found.explanation[0] == "chest CT: Modality is 'MR', wanted CT"
    assert len(found.explanation) == 3
