"""Account."""

from fastapi import APIRouter

router = APIRouter()
