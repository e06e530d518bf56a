import re
from pathlib import Path

import msgspec
import pytest

from tollway.catalog import (
    Catalog,
    Configuration,
    ConfigurationError,
    LocalModel,
    load_catalog,
    load_configuration,
    shipped_configuration,
)
from tollway.errors import ModelNotFound
from tollway.settings import Settings, SettingsError, load

REFERENCE = "google/gemini-2.5-flash-lite-preview"
SMALL = LocalModel("small", "Small", "Somebody", 2048, sees=False, thinks=False)
SEEING = LocalModel("seer", "Seer", "Somebody", 4096, sees=True, thinks=True)
KEY = "sk-verysecret0123456789"


def configured(home: Path, text: str = "", **environ: str) -> Configuration:
    (home / "tollway.toml").write_text(text)
    return load_configuration(Settings(home=home), environ)


def catalog(configuration: Configuration, *, stand_in: bool = True) -> Catalog:
    return load_catalog([SMALL, SEEING], default_model="small", stand_in=stand_in, configuration=configuration)


def problems(home: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        configured(home, text, **environ)
    return [line.removeprefix(f"{home}/tollway.toml") for line in str(caught.value).splitlines()]


# --- what is in force -------------------------------------------------------------------------------------------------


def test_without_anything_the_reference_model_is_a_stand_in(tmp_path: Path) -> None:
    plan = catalog(load_configuration(Settings(home=tmp_path), {})).resolve(REFERENCE)
    assert plan.model.stand_in
    assert [(route.answers_as, route.stand_in) for route in plan.routes] == [("local/small", True)]
    assert [each.reason for each in plan.unusable] == ["GEMINI_API_KEY or GOOGLE_API_KEY is not set"]


def test_a_gemini_key_makes_it_gemini(tmp_path: Path) -> None:
    configuration = configured(tmp_path, GEMINI_API_KEY=f" {KEY}\n")
    (route,) = catalog(configuration).resolve(REFERENCE).routes
    assert (route.upstream.name, route.upstream.dialect, route.upstream.api_key) == ("gemini", "gemini", KEY)
    assert (route.upstream_model, route.answers_as, route.stand_in) == ("gemini-2.5-flash-lite", REFERENCE, False)
    assert (route.context_tokens, route.output_max) == (1_000_000, 65_536)


def test_its_upstream_id_is_a_setting(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, reference_upstream_model="gemini-3.5-flash-lite")
    configuration = load_configuration(settings, {"GOOGLE_API_KEY": KEY})
    assert catalog(configuration).resolve(REFERENCE).routes[0].upstream_model == "gemini-3.5-flash-lite"


def test_the_routes_of_a_model_with_an_alias_are_listed_once(tmp_path: Path) -> None:
    served = catalog(configured(tmp_path))
    assert served.get("small") is served.get("local/small")
    assert [route.answers_as for route in served.routes] == ["local/small", "local/small", "local/seer"], "one stands in"


def test_nothing_stands_in_when_that_is_off(tmp_path: Path) -> None:
    served = catalog(configured(tmp_path), stand_in=False)
    with pytest.raises(ModelNotFound):
        served.resolve(REFERENCE)
    assert [plan.model.id for plan in served.unserved] == [REFERENCE]


@pytest.mark.parametrize(
    "text",
    [
        "[upstreams.gemini]\nconcurrency_max = 5\n",
        f'[[models]]\nid = "{REFERENCE}"\nroutes = [{{ upstream = "openrouter", model = "google/gemini-2.5-flash-lite" }}]\n',
    ],
)
def test_nothing_stands_in_for_what_the_operator_configured(tmp_path: Path, text: str) -> None:
    served = catalog(configured(tmp_path, text))
    with pytest.raises(ModelNotFound):
        served.resolve(REFERENCE)


def test_another_upstream_may_serve_the_reference_model(tmp_path: Path) -> None:
    text = f'[[models]]\nid = "{REFERENCE}"\nroutes = [{{ upstream = "openrouter", model = "google/gemini-2.5-flash-lite" }}]\n'
    plan = catalog(configured(tmp_path, text, OPENROUTER_API_KEY=KEY)).resolve(REFERENCE)
    assert [route.upstream.name for route in plan.routes] == ["openrouter"]
    assert (plan.model.name, plan.model.price.prompt) == ("Gemini 2.5 Flash-Lite Preview", "0.10")


WHOLE = """
port = 9000

[upstreams.gpu-1]
provider = "vllm"
base_url = "http://10.0.0.5:8000/v1/"
first_token_seconds = 5
between_tokens_seconds = 0
total_seconds = 0
concurrency_max = 16

[upstreams.gpu-1.quirks]
max_tokens_field = "max_tokens"

[upstreams.mine]
dialect = "openai"
base_url = "https://mine.example/v1"
key_variable = "MINE_KEY"

[[models]]
id = "acme/chat"
aliases = ["chat"]
context_length = 32768
price = { prompt = 0.5, completion = "1.5" }
capabilities = ["streaming", "tools", "vision"]

[[models.routes]]
upstream = "mine"
model = "big"
priority = 1
price = { prompt = 2, completion = 6, cached_prompt = 0.5 }
context_length = 16384

[[models.routes]]
upstream = "gpu-1"
model = "llama"
weight = 3
capabilities = ["streaming"]

[[models.routes]]
upstream = "local"
model = "seer"
priority = 2
"""


def test_routes_come_in_their_priority_with_what_is_theirs(tmp_path: Path) -> None:
    plan = catalog(configured(tmp_path, WHOLE, MINE_KEY=KEY)).resolve("chat")
    gpu, mine, local = plan.routes
    assert plan.model.price.cached_prompt == "0.5"
    assert plan.model.input_modalities == ("text", "image")
    assert (plan.model.context_length, plan.model.output_max) == (32768, 32768), "what the routes elsewhere have"
    assert (plan.model.name, plan.model.developer) == ("acme/chat", "acme")

    assert (gpu.upstream.name, gpu.weight, gpu.price.completion, set(gpu.capabilities)) == ("gpu-1", 3, "1.5", {"streaming"})
    assert gpu.upstream.base_url == "http://10.0.0.5:8000/v1"
    assert gpu.upstream.api_key is None
    of_gpu = gpu.upstream.limits
    assert (of_gpu.first_token_seconds, of_gpu.between_tokens_seconds, of_gpu.total_seconds) == (5.0, None, None)
    assert of_gpu.concurrency_max == 16
    assert gpu.upstream.quirks.max_tokens_field == "max_tokens"
    assert gpu.upstream.quirks.reasoning_field == "reasoning"  # of the provider's row

    assert (mine.upstream.api_key, mine.price.prompt, mine.price.cached_prompt) == (KEY, "2.0", "0.5")
    assert (mine.context_tokens, mine.output_max, mine.answers_as) == (16384, 16384, "acme/chat")
    assert (local.answers_as, local.context_tokens, local.price.prompt) == ("local/seer", 4096, "0.5")
    assert local.capabilities == {"streaming", "tools", "vision"}
    assert not any(route.stand_in for route in plan.routes)


def test_a_route_without_its_key_is_left_out_and_says_why(tmp_path: Path) -> None:
    plan = catalog(configured(tmp_path, WHOLE)).resolve("acme/chat")
    assert [route.upstream.name for route in plan.routes] == ["gpu-1", "local"]
    assert [(each.upstream, each.reason) for each in plan.unusable] == [("mine", "MINE_KEY is not set")]


def test_a_model_of_local_routes_needs_nothing_but_a_name(tmp_path: Path) -> None:
    text = (
        '[[models]]\nid = "eyes"\nroutes = [{ upstream = "local", model = "seer" }, { upstream = "local", model = "gone" }]\n'
    )
    plan = catalog(configured(tmp_path, text)).resolve("eyes")
    assert (plan.model.context_length, plan.model.price.prompt) == (4096, "0.01")
    assert "vision" in plan.model.capabilities
    assert [each.upstream_model for each in plan.unusable] == ["gone"]


@pytest.mark.parametrize(
    ("of_model", "of_route", "expected"),
    [("", "", 4096), ("context_length = 200", "", 200), ("context_length = 9000", "", 4096), ("", ", context_length = 50", 50)],
)
def test_a_local_route_has_at_most_its_engines_context(tmp_path: Path, of_model: str, of_route: str, expected: int) -> None:
    text = f'[[models]]\nid = "eyes"\n{of_model}\nroutes = [{{ upstream = "local", model = "seer"{of_route} }}]\n'
    plan = catalog(configured(tmp_path, text)).resolve("eyes")
    assert (plan.routes[0].context_tokens, plan.routes[0].output_max, plan.model.context_length) == (expected,) * 3


def test_a_key_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.key").write_text(f"{KEY}\n")
    text = '[upstreams.mine]\nprovider = "openai"\nkey_file = "mine.key"\n'
    assert configured(tmp_path, text, OPENAI_API_KEY="another").upstreams["mine"].api_key == KEY


def test_it_travels_to_the_workers_whole_and_shows_no_key(tmp_path: Path) -> None:
    configuration = configured(tmp_path, WHOLE, MINE_KEY=KEY)
    assert msgspec.json.decode(msgspec.json.encode(configuration), type=Configuration) == configuration
    assert KEY not in repr(configuration)
    assert KEY not in repr(catalog(configuration).resolve("chat"))


def test_a_catalogue_becomes_another_while_plans_are_kept(tmp_path: Path) -> None:
    served = catalog(configured(tmp_path, WHOLE, MINE_KEY=KEY))
    held = served.resolve("chat")
    served.become(catalog(configured(tmp_path)))
    with pytest.raises(ModelNotFound):
        served.resolve("chat")
    assert len(held.routes) == 3
    assert [model.id for model in served.models] == [REFERENCE, "local/small", "local/seer"]


def test_settings_leave_the_tables_alone_and_suggest_names(tmp_path: Path) -> None:
    (tmp_path / "tollway.toml").write_text(WHOLE)
    assert load({}, {"TOLLWAY_HOME": str(tmp_path)}).port == 9000
    (tmp_path / "tollway.toml").write_text("[upstream.x]\n")
    with pytest.raises(SettingsError, match=r"tollway\.toml:1: `upstream` is no setting\. Did you mean `upstreams`"):
        load({}, {"TOLLWAY_HOME": str(tmp_path)})


# --- what is wrong ----------------------------------------------------------------------------------------------------

HEAD = '[[models]]\nid = "m"\n'
MODEL = HEAD + "context_length = 1\nprice = { prompt = 1, completion = 1 }\n"
ROUTE = '{ upstream = "vllm", model = "x" },\n'
ROUTES = 'routes = [{ upstream = "vllm", model = "x" }]\n'
WRONG = {
    "syntax": ("[upstreams.x\n", r": .*line 1"),
    "unknown field": ("[upstreams.vllm]\nbase_ulr = 1\n", r":2: upstreams.vllm.base_ulr: .*Did you mean `base_url`\?"),
    "wrong type": (
        '[upstreams.vllm]\nattempts_max = "3"\n',
        r":2: upstreams.vllm.attempts_max: must be a whole number, not text",
    ),
    "endless": ("[upstreams.vllm]\nfirst_token_seconds = 1e400\n", r":2: .*first_token_seconds: must be a finite number"),
    "bound": ("[upstreams.vllm]\nfirst_token_seconds = -1\n", r":2: .*first_token_seconds: must be at least 0"),
    "unknown provider": ('[upstreams.x]\nprovider = "opnai"\n', r":2: upstreams.x.provider: .*Did you mean `openai`\?"),
    "unheard-of provider": ('[upstreams.x]\nprovider = "zzz"\n', r":2: .*There are aimlapi, .*`dialect` and `base_url`"),
    "neither provider nor dialect": ('[upstreams.x]\nbase_url = "http://h/v1"\n', r":1: upstreams.x: `dialect` is missing"),
    "dialect": (
        '[upstreams.x]\ndialect = "grpc"\nbase_url = "http://h/v1"\n',
        r":2: .*no word for it. It may be `openai`, `ge",
    ),
    "no URL": ('[upstreams.vllm]\nbase_url = "localhost:8000"\n', r":2: upstreams.vllm.base_url: must be a URL"),
    "no host name": ('[upstreams.vllm]\nbase_url = "http://a..b/v1"\n', r":2: upstreams.vllm.base_url: must be a URL"),
    "too long a name": (f'[upstreams.vllm]\nbase_url = "http://{"a" * 64}.example/v1"\n', r":2: .*must be a URL"),
    "no host": ('[upstreams.vllm]\nbase_url = "http:///v1"\n', r":2: upstreams.vllm.base_url: must be a URL"),
    "a blank in the URL": ('[upstreams.vllm]\nbase_url = "http://h/v 1"\n', r":2: upstreams.vllm.base_url: must be a URL"),
    "key as the user": (f'[upstreams.vllm]\nbase_url = "https://{KEY}@h/v1"\n', r":2: .*without user.*key_file"),
    "URL beyond the base": ('[upstreams.vllm]\nbase_url = "http://h/v1/chat/completions"\n', r":2: .*must end before"),
    "URL of the models": ('[upstreams.gemini]\nbase_url = "http://h/v1beta/models/"\n', r":2: .*must end before `/models`"),
    "quirks that nothing reads": (
        "[upstreams.gemini.quirks]\nextra_parameters = true\n",
        r":1: upstreams.gemini.quirks: the dialect `gemini` has none. Leave them out",
    ),
    "a fraction": ("[upstreams.vllm]\nattempts_max = 1.5\n", r":2: .*must be a whole number, not a number with a decimal"),
    "key in the URL": (f'[upstreams.vllm]\nbase_url = "https://u:{KEY}@h/v1"\n', r":2: .*without user.*key_file"),
    "key in the query": (f'[upstreams.vllm]\nbase_url = "https://h/v1?key={KEY}"\n', r":2: .*without user.*key_file"),
    "key in the file": (f'[upstreams.openai]\napi_key = "{KEY}"\n', r":2: upstreams.openai.api_key: keys do not.*key_var"),
    "key as variable": (f'[upstreams.openai]\nkey_variable = "{KEY}"\n', r":2: .*no environment variable's name.*key_file"),
    "two keys": ('[upstreams.openai]\nkey_variable = "A"\nkey_file = "a"\n', r":3: .*Keep one of them"),
    "no key file": ('[upstreams.openai]\nkey_file = "gone.key"\n', r":2: .*gone.key cannot be read: No such file"),
    "a name taken": ("[upstreams.local]\nattempts_max = 1\n", r":1: upstreams.local: .*models of this machine"),
    "a name that is none": ('[upstreams."a b"]\nprovider = "vllm"\n', r":1: upstreams.a b: .*cannot be a name"),
    "quirk": ("[upstreams.vllm.quirks]\ndone_maker = true\n", r":2: upstreams.vllm.quirks.done_maker: .*`done_marker`"),
    "quirk's value": ('[upstreams.vllm]\nquirks = { hints = ["nope"] }\n', r":2: upstreams.vllm.quirks: `nope` is none of the"),
    "not a table": ("upstreams = 1\n", r":1: upstreams: must be tables"),
    "an upstream that is no table": ("[upstreams]\nvllm = 3\n", r":2: upstreams.vllm: must be a table"),
    "models not a list": ("[models]\nid = 1\n", r":1: models: must be a list of tables"),
    "routes not a list": (MODEL + "routes = 3\n", r":5: models\[0\].routes: must be a list of tables"),
    "no routes": (MODEL, r":1: models\[0\]: `routes` is missing"),
    "no id": ("[[models]]\n" + ROUTES, r":1: models\[0\]: `id` is missing"),
    "no price": (HEAD + "context_length = 1\n" + ROUTES, r":1: .*`price` is missing.*`price = \{"),
    "no context": (HEAD + "price = { prompt = 1, completion = 1 }\n" + ROUTES, r":1: .*`context_length` is missing"),
    "a price in words": (
        HEAD + 'price = { prompt = "free", completion = 1 }\n' + ROUTES,
        r':3: .*price.prompt: that cannot be. Write US dollars such as "0.10"',
    ),
    "a price with a comma": (HEAD + 'price = { prompt = "0,1", completion = 1 }\n' + ROUTES, r":3: .*Write US dollars"),
    "no date": (MODEL + 'released_at = "17.6.2025"\n' + ROUTES, r':5: .*that cannot be. Write a date such as "2025-06-17"'),
    "an alias with spaces": (MODEL + 'aliases = ["a b"]\n' + ROUTES, r":5: .*aliases: .*It may have letters, digits and"),
    "a negative price": (HEAD + "price = { prompt = -1, completion = 1 }\n" + ROUTES, r":3: .*price.prompt: "),
    "NaN for a price": (HEAD + "price = { prompt = nan, completion = 1 }\n" + ROUTES, r":3: .*price.prompt: "),
    "an endless price": (HEAD + "price = { prompt = inf, completion = 1 }\n" + ROUTES, r":3: .*price.prompt: "),
    "a price that overflows": (HEAD + "price = { prompt = 1000000, completion = 1 }\n" + ROUTES, r":3: .*price.prompt: "),
    "a price of many digits": (
        HEAD + f'price = {{ prompt = "{"9" * 30}", completion = 1 }}\n' + ROUTES,
        r":3: .*price.prompt: ",
    ),
    "a negative price in words": (HEAD + 'price = { prompt = "-0.1", completion = 1 }\n' + ROUTES, r":3: .*price.prompt: "),
    "a tiny price": (HEAD + "price = { prompt = 1e-9, completion = 1 }\n" + ROUTES, r":3: .*six decimals"),
    "half a price": (HEAD + "price = { prompt = 1 }\n" + ROUTES, r":3: .*price: `completion` is missing"),
    "unknown upstream": (
        MODEL + "routes = [\n" + ROUTE + '{ upstream = "vlm", model = "x" },\n]\n',
        r":7: models\[0\].routes\[1\].upstream: there is no upstream `vlm`. Did you mean `vllm`\?",
    ),
    "unheard-of upstream": (MODEL + 'routes = [{ upstream = "qq", model = "x" }]\n', r":5: .*Add a table `\[upstreams.qq\]`"),
    "a field of a route": (
        MODEL + "routes = [\n" + ROUTE + '{ upstream = "vllm", model = "x", wieght = 2 },\n]\n',
        r":7: models\[0\].routes\[1\].wieght: .*Did you mean `weight`\?",
    ),
    "a route's table": (
        MODEL + '[[models.routes]]\nupstream = "vllm"\nmodel = "x"\nweight = 0\n',
        r":8: models\[0\].routes\[0\].weight: ",
    ),
    "capability": (MODEL + 'capabilities = ["flying"]\n' + ROUTES, r":5: .*capabilities: .*flying.*It may be `streaming`"),
    "twice": (MODEL + ROUTES + MODEL + ROUTES, r":6: models\[1\]: `m` is the name of another model"),
    "an alias twice": (MODEL + ROUTES + MODEL.replace('"m"', '"n"') + 'aliases = ["m"]\n' + ROUTES, r":6: .*`m` is the"),
    "an alias of a shipped one": (MODEL + f'aliases = ["{REFERENCE}"]\n' + ROUTES, r":1: models\[0\]: .* of another model"),
    "a local name": (MODEL.replace('"m"', '"local/x"') + ROUTES, r":1: models\[0\]: .*belong to the model files"),
    "a day that never was": (
        MODEL + 'released_at = "2025-02-30"\n' + ROUTES,
        r":1: models\[0\]: `released_at`: there is no 2025-02-30",
    ),
    "an id with spaces": (
        MODEL.replace('"m"', '"a b"') + ROUTES,
        r":2: models\[0\].id: that cannot be. It may have letters, digits and",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_problem_names_line_field_and_fix_and_no_key(tmp_path: Path, case: str) -> None:
    text, expected = WRONG[case]
    lines = problems(tmp_path, text)
    assert re.match(expected, lines[0]), lines
    assert KEY not in "\n".join(lines)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = "[upstreams.vllm]\nbase_ulr = 1\nattempts_max = 0\n[[models]]\n"
    assert len(problems(tmp_path, text)) == 3


@pytest.mark.parametrize("content", ["", "two words", "a\nb", "\x00", "é", "x" * 20_000])
def test_a_key_file_holds_one_key(tmp_path: Path, content: str) -> None:
    (tmp_path / "k").write_text(content)
    (line,) = problems(tmp_path, '[upstreams.openai]\nkey_file = "k"\n')
    assert "must hold one key and nothing else" in line


def test_a_variable_that_holds_no_key_is_named_and_not_shown(tmp_path: Path) -> None:
    configuration = configured(tmp_path, "[upstreams.openai]\n", OPENAI_API_KEY=f"{KEY} {KEY}")
    assert configuration.missing["openai"] == "the value of OPENAI_API_KEY cannot be a key"


def test_what_a_model_that_is_not_there_may_have_been() -> None:
    served = catalog(shipped_configuration())
    with pytest.raises(ModelNotFound, match=r"Did you mean google/gemini-2\.5-flash-lite-preview\?"):
        served.resolve("google/gemini-2.5-flash-lite")
    with pytest.raises(ModelNotFound, match=r"^The model `z{200}` does not exist .* `GET /v1/models` lists"):
        served.resolve("z" * 500)


def test_an_answer_is_bounded_where_the_context_does_not_bound_it(tmp_path: Path) -> None:
    text = WHOLE.replace('id = "acme/chat"', 'id = "acme/chat"\noutput_max = 300', 1)
    gpu, *_ = catalog(configured(tmp_path, text, MINE_KEY=KEY)).resolve("chat").routes
    assert [gpu.output_limit(asked) for asked in (None, 299, 301)] == [300, 299, 300]
    gpu, *_ = catalog(configured(tmp_path, WHOLE, MINE_KEY=KEY)).resolve("chat").routes
    assert [gpu.output_limit(asked) for asked in (None, 99_999)] == [None, 32768]


def test_local_models_say_what_they_can() -> None:
    seer, small = catalog(shipped_configuration()).get("seer"), catalog(shipped_configuration()).get("small")
    assert set(seer.capabilities) - set(small.capabilities) == {"vision", "reasoning"}
    assert (seer.input_modalities, small.input_modalities) == (("text", "image"), ("text",))


def test_a_request_without_a_limit_gets_the_models_own(tmp_path: Path) -> None:
    """Models on this machine have one, unless they think; what an operator writes goes before it, the caller's before all."""
    text = WHOLE.replace('id = "acme/chat"', 'id = "acme/chat"\noutput_default = 500', 1) + "output_default = 600\n"
    models = catalog(configured(tmp_path, text, MINE_KEY=KEY))
    assert [route.output_limit(None) for route in models.resolve("chat").routes] == [500, 500, 600]
    assert models.resolve("chat").routes[0].output_limit(7) == 7
    (small,), (seer,) = models.resolve("local/small").routes, models.resolve("local/seer").routes
    assert (small.output_limit(None), small.output_limit(2000), seer.output_limit(None)) == (1024, 2000, None)
    (stand_in,) = models.resolve(REFERENCE).routes
    assert stand_in.output_limit(None) == 1024
