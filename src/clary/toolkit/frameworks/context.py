"""The `context` argument of a user's functions: what the model server's Context offers them.

Owns the reading of the request's headers and the setting of status, content type and headers of the answer, under the names of
the multi-model server's Context, so that scripts written for it run."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple

from clary.toolkit.frames import Request


class RequestProcessor:
    """Headers of one request, and the status and headers of its answer."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self.response: Dict[str, str] = {}
        self.status = 200

    def get_request_property(self, key: str) -> Optional[str]:
        return self._headers.get(key.lower())

    def get_request_properties(self) -> Dict[str, str]:
        return {"-".join(part.capitalize() for part in name.split("-")): value for name, value in self._headers.items()}

    def add_response_property(self, key: str, value: str) -> None:
        self.response[key] = value

    def get_response_headers(self) -> Dict[str, str]:
        return dict(self.response)

    def report_status(self, code: int, reason_phrase: Optional[str] = None) -> None:
        self.status = int(code)


class Context:
    """One request's context, or the model's at load time."""

    def __init__(self, model_dir: str, request: Optional[Request] = None) -> None:
        self.model_name = "model"
        self.manifest: Dict[str, Any] = {}
        self.system_properties: Dict[str, Any] = {"model_dir": model_dir, "gpu_id": None, "batch_size": 1}
        headers: Dict[str, str] = {}
        if request is not None:
            headers = {**request.headers, "content-type": request.content_type, "accept": request.accept}
        self.request_processor: List[RequestProcessor] = [RequestProcessor(headers)]

    @property
    def _request_processor(self) -> List[RequestProcessor]:
        return self.request_processor

    def get_request_header(self, idx: int, key: str) -> Optional[str]:
        return self.request_processor[idx].get_request_property(key)

    def get_all_request_header(self, idx: int) -> Dict[str, str]:
        return self.request_processor[idx].get_request_properties()

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        self.request_processor[idx].add_response_property(key, value)

    def set_response_content_type(self, idx: int, value: str) -> None:
        self.set_response_header(idx, "content-type", value)

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        self.request_processor[idx].report_status(code, phrase)

    def set_all_response_status(self, code: int = 200, phrase: str = "") -> None:
        self.set_response_status(code, phrase)

    @property
    def status(self) -> int:
        return self.request_processor[0].status

    @property
    def content_type(self) -> str:
        headers = self.request_processor[0].response
        return next((v for k, v in headers.items() if k.lower() == "content-type"), "")

    def response_headers(self) -> Tuple[Tuple[str, str], ...]:
        """Further headers of the answer, names in lower case."""
        headers = self.request_processor[0].response
        return tuple((k.lower(), str(v)) for k, v in headers.items() if k.lower() != "content-type")
