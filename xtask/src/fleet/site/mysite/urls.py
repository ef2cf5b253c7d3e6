from django.urls import path
from news.views import front

urlpatterns = [path("", front)]
