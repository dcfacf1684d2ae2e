"""Single sign on."""

from fastapi import APIRouter

router = APIRouter()
