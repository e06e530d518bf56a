"""LangChain's standard tests of chat models, through `langchain-openai`."""

import os
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests


class TestChatOpenAI(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": os.environ["CLIENT_MODEL"],
            "base_url": os.environ["CLIENT_BASE_URL"],
            "api_key": os.environ["CLIENT_KEY"],
            "stream_usage": True,
            "timeout": 300,
            "temperature": 0,
            "max_tokens": 300,
        }

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest) -> BaseChatModel:
        params = self.chat_model_params | getattr(request, "param", {})
        if "structured" in request.node.name or "json" in request.node.name:
            params["frequency_penalty"] = 1.0  # or the tiny model tells the same joke until it is cut off
        return self.chat_model_class(**params)

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return os.environ["CLIENT_LOCAL_MODEL"]
