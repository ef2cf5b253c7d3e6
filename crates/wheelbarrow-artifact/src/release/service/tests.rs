use super::*;

fn services(text: &str) -> Result<Vec<Service>, String> {
    #[derive(Deserialize)]
    struct File {
        service: Vec<Service>,
    }
    toml::from_str::<File>(text).map(|file| file.service).map_err(|error| error.message().to_owned())
}

#[test]
fn services_are_what_they_are_written_as() {
    let text = r#"
        [[service]]
        name = "web"
        run = "gunicorn mysite.wsgi --workers 3"
        socket = true
        probe = { path = "/health/" }
        loosen = ["home"]

        [[service]]
        name = "worker"
        run = "celery -A mysite worker"
        instances = 2
        stop = { signal = "SIGTERM", timeout = 600 }
        handover = "drain"
        watchdog = 20
        probe = { command = "celery -A mysite inspect ping" }

        [[service]]
        name = "beat"
        run = "celery -A mysite beat"
        hosts = "one"

        [[service]]
        name = "clearsessions"
        run = "django-admin clearsessions"
        schedule = "daily"

        [[service]]
        name = "apache"
        unit = "apache2.service"
        action = "reload"
        stays-up = 10
    "#;
    let services = services(text).unwrap();
    let starts: Vec<_> = services.iter().filter_map(Service::own).map(|own| own.start.clone()).collect();
    let one = Start::Instances { count: 1, handover: Handover::Restart };
    let drained = Start::Instances { count: 2, handover: Handover::Drain };
    assert_eq!(starts, [Start::Socket, drained, one, Start::Schedule("daily".to_owned())]);
    assert_eq!(services[1].own().unwrap().stop, Stop { signal: term(), timeout: 600 });
    assert_eq!(services[4].stays_up, 10);
    let watchdogs: Vec<_> = services.iter().filter_map(Service::own).map(|own| own.watchdog).collect();
    assert_eq!(watchdogs, [None, Some(20), None, None]);
    let again = serde_json::to_string(&services).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Service>>(&again).unwrap(), services);
    // As a manifest has them.
    crate::manifest::check_form(format!("{{\"service\": {again}}}").as_bytes()).unwrap();
}

#[test]
fn invalid_services_are_refused_with_the_reason() {
    let cases = [
        "run = 'x'",
        "name = 'Web'\nrun = 'x'",
        "name = 'a--b'\nrun = 'x'",
        "name = 'a'",
        "name = 'a'\nrun = 'x'\nunit = 'b.service'",
        "name = 'a'\nunit = 'b.service'\ninstances = 2",
        "name = 'a'\nrun = 'x'\naction = 'reload'",
        "name = 'a'\nrun = 'x'\nsocket = true\nschedule = 'daily'",
        "name = 'a'\nrun = 'x'\nsocket = true\ninstances = 2",
        "name = 'a'\nrun = 'x'\ninstances = 0",
        "name = 'a'\nrun = 'x'\nhosts = 'one'\ninstances = 2",
        "name = 'a'\nrun = 'x'\nhosts = 'one'\nhandover = 'drain'",
        "name = 'a'\nrun = 'x'\nprobe = { path = '/' }",
        "name = 'a'\nrun = 'x'\nsocket = true\nprobe = { path = 'x' }",
        "name = 'a'\nrun = 'x'\nprobe = { url = 'http://localhost/', command = 'y' }",
        "name = 'a'\nrun = 'x'\nschedule = 'daily'\nstays-up = 3",
        "name = 'a'\nrun = 'x'\nschedule = \"daily\\nExecStart=/bin/x\"",
        "name = 'a'\nrun = 'x'\nstop = { signal = 'term' }",
        "name = 'a'\nrun = 'x'\nloosen = ['everything']",
        "name = 'a'\nrun = 'x'\nwatchdog = 0",
        "name = 'a'\nrun = 'x'\nschedule = 'daily'\nwatchdog = 5",
        "name = 'a'\nunit = 'b.service'\nwatchdog = 5",
    ];
    let errors = cases.map(|case| services(&format!("[[service]]\n{case}")).unwrap_err());
    insta::assert_snapshot!(errors.join("\n"));
}
