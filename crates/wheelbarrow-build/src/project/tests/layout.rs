use super::*;

#[test]
fn the_import_path_is_read_from_manage_py() {
    let import_path = |files: &[&str], setting| {
        let files: Vec<_> = files.iter().map(|path| (*path, "")).collect();
        let place = tree(&files);
        let (files, _) = walk_project(place.path(), &[]).unwrap();
        find_import_path(place.path(), &files, setting)
    };
    assert_eq!(import_path(&["manage.py", "x/manage.py"], None).unwrap(), "");
    assert_eq!(import_path(&["src/manage.py", "README"], None).unwrap(), "src");
    assert_eq!(import_path(&["back/src/manage.py"], None).unwrap(), "back/src");
    for beside in ["pyproject.toml", "setup.py", "setup.cfg"] {
        assert_eq!(import_path(&[beside, "src/site/wsgi.py"], None).unwrap(), "src", "{beside}");
    }
    assert_eq!(import_path(&["wsgi.py"], None).unwrap(), "");
    assert_eq!(import_path(&["a/manage.py", "b/manage.py"], Some("b/")).unwrap(), "b");
    assert!(matches!(
        import_path(&["a/manage.py", "b/manage.py"], None),
        Err(ProjectError::SeveralManage { .. })
    ));
    assert!(matches!(import_path(&["a.py"], Some("nowhere")), Err(ProjectError::ImportPath { .. })));
    assert!(matches!(import_path(&["a.py"], Some("/")), Err(ProjectError::ImportPath { .. })));
}

#[test]
fn names_of_directories_are_made_safe() {
    for (directory, name) in [
        ("/x/mysite", "mysite"),
        ("/x/My Site!", "My_Site_"),
        ("/x/venv", "venv_project"),
        ("/", "project"),
        ("/x/.dot", "dot"),
    ] {
        assert_eq!(directory_name(Path::new(directory)), name);
    }
}

#[test]
fn the_command_line_of_a_package_is_no_import_path() {
    let path = |manage: &str| {
        let place = tree(&[("shop/__init__.py", ""), ("shop/manage.py", manage), ("shop/wsgi.py", "")]);
        let (files, _) = walk_project(place.path(), &[]).unwrap();
        find_import_path(place.path(), &files, None).unwrap()
    };
    assert_eq!(path("cli = FlaskGroup(create_app=create_app)\n"), "");
    assert_eq!(path("os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'settings')\n"), "shop");
}
