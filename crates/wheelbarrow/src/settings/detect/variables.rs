//! Variables of the environment without which the settings do not load: those that are read in any case, and have
//! no default.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Runs, Statement, Token, depth_of, in_brackets, split_at};

/// Classes whose objects read variables: of django-environ, environs, Starlette and python-decouple.
const CLASSES: [&str; 4] = ["Env", "FileAwareEnv", "Config", "AutoConfig"];

/// Methods of `Env` of django-environ and environs that read the variable of their first argument.
const METHODS: [&str; 28] = [
    "str",
    "unicode",
    "bytes",
    "bool",
    "int",
    "float",
    "decimal",
    "json",
    "list",
    "tuple",
    "dict",
    "url",
    "path",
    "db",
    "db_url",
    "cache",
    "cache_url",
    "email",
    "email_url",
    "search_url",
    "channels_url",
    "get_value",
    "dj_db_url",
    "dj_cache_url",
    "dj_email_url",
    "timedelta",
    "log_level",
    "uuid",
];

/// Methods of `Env` of django-environ that need no argument, and the variable that they read then.
const VARIABLES: [(&str, &str); 6] = [
    ("db", "DATABASE_URL"),
    ("db_url", "DATABASE_URL"),
    ("cache", "CACHE_URL"),
    ("cache_url", "CACHE_URL"),
    ("email", "EMAIL_URL"),
    ("email_url", "EMAIL_URL"),
];

/// The variables that statements of modules need, all of which are loaded.
pub(super) fn required(statements: &[Statement]) -> BTreeSet<String> {
    let objects = objects(statements);
    let mut required = BTreeSet::new();
    for Statement { tokens, .. } in statements.iter().filter(|statement| statement.runs == Runs::Always) {
        for at in 0..tokens.len() {
            let variable = subscript(&tokens[at..])
                .filter(|(_, is_set)| !is_set)
                .map(|(name, _)| name)
                .or_else(|| call(&objects, tokens, at));
            required.extend(
                variable.filter(|name| is_variable(name) && !is_conditional(tokens, at)).map(str::to_owned),
            );
        }
    }
    for Statement { tokens, .. } in statements {
        for at in 0..tokens.len() {
            if let Some(name) = provided(&tokens[at..]) {
                required.remove(name);
            }
        }
    }
    required
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_')
}

/// `environ["NAME"]`, and whether it is assigned.
fn subscript(tokens: &[Token]) -> Option<(&str, bool)> {
    match tokens {
        [Token::Name(environ), Token::Sign('['), Token::Text(name), Token::Sign(']'), rest @ ..]
            if environ == "environ" =>
        {
            Some((name, rest.first() == Some(&Token::Sign('='))))
        }
        _ => None,
    }
}

/// A variable that the settings set, or look for before they read it: `A = os.environ["A"] if "A" in os.environ else None`.
fn provided(tokens: &[Token]) -> Option<&str> {
    match tokens {
        [Token::Name(function), Token::Sign('('), Token::Text(name), Token::Sign(','), ..]
            if function == "setdefault" =>
        {
            Some(name)
        }
        [Token::Text(name), rest @ ..] => {
            let words = rest.iter().take(5).map_while(|token| match token {
                Token::Name(word) => Some(word.as_str()),
                Token::Sign('.') => Some("."),
                _ => None,
            });
            let words: Vec<_> = words.collect();
            let words = words.strip_prefix(&["not"]).unwrap_or(&words);
            matches!(words, ["in", "environ", ..] | ["in", _, ".", "environ", ..]).then_some(name)
        }
        _ => subscript(tokens).filter(|(_, is_set)| *is_set).map(|(name, _)| name),
    }
}

/// The names of objects that read variables, each with the variables for which it has a default.
fn objects(statements: &[Statement]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut objects = BTreeMap::new();
    for Statement { tokens, .. } in statements {
        match &tokens[..] {
            // python-decouple
            [Token::Name(from), Token::Name(module), Token::Name(_), imported @ ..]
                if from == "from" && module == "decouple" =>
            {
                let imported = in_brackets(imported).map_or(imported, |(inside, _)| inside);
                for item in split_at(imported, ',') {
                    let mut names = item.iter().filter_map(|token| match token {
                        Token::Name(name) => Some(name.as_str()),
                        _ => None,
                    });
                    if names.next() == Some("config") {
                        objects.insert(names.next_back().unwrap_or("config"), BTreeSet::new());
                    }
                }
            }
            [Token::Name(name), Token::Sign('='), made @ ..] => {
                let Some(open) = made.iter().position(|token| *token == Token::Sign('(')) else { continue };
                let is_class =
                    |token: &Token| matches!(token, Token::Name(name) if CLASSES.contains(&name.as_str()));
                let is_reader = made[..open].last().is_some_and(is_class);
                let Some((arguments, [])) = in_brackets(&made[open..]) else { continue };
                if is_reader {
                    objects.insert(name, split_at(arguments, ',').into_iter().filter_map(default).collect());
                }
            }
            _ => {}
        }
    }
    // All of its variables have another name.
    for Statement { tokens, .. } in statements {
        if let [Token::Name(name), Token::Sign('.'), Token::Name(attribute), Token::Sign('='), ..] =
            &tokens[..]
            && attribute == "prefix"
        {
            objects.remove(name.as_str());
        }
    }
    objects
}

/// The variable of `DEBUG=(bool, False)`.
fn default(argument: &[Token]) -> Option<&str> {
    match argument {
        [Token::Name(name), Token::Sign('='), Token::Sign('('), ..] => Some(name),
        _ => None,
    }
}

/// The variable of `env("NAME")`, `env.bool("NAME")` or `env.db()` at that place, if no default is given.
fn call<'t>(objects: &BTreeMap<&str, BTreeSet<&str>>, tokens: &'t [Token], at: usize) -> Option<&'t str> {
    let Token::Name(object) = &tokens[at] else { return None };
    let is_attribute = at > 0 && tokens[at - 1] == Token::Sign('.');
    let (method, open) = match &tokens[at + 1..] {
        [Token::Sign('.'), Token::Name(method), open @ ..] => (Some(method.as_str()), open),
        open => (None, open),
    };
    let is_decouple = object == "decouple" && method == Some("config");
    let has_defaults = objects.get(object.as_str());
    let reads = method.is_none_or(|method| METHODS.contains(&method));
    if is_attribute
        || !(is_decouple || has_defaults.is_some() && reads)
        || open.first() != Some(&Token::Sign('('))
    {
        return None;
    }
    let arguments = split_at(in_brackets(open)?.0, ',');
    let is_keyword = |argument: &&[Token]| match argument {
        [Token::Name(keyword), Token::Sign('='), ..] => !matches!(keyword.as_str(), "default" | "missing"),
        _ => false,
    };
    let (name, others) = match &arguments[..] {
        [[Token::Text(name)], others @ ..] => (name.as_str(), others),
        others => (VARIABLES.iter().find(|(it, _)| Some(*it) == method)?.1, others),
    };
    let has_default = has_defaults.is_some_and(|defaults| defaults.contains(name));
    (!has_default && others.iter().all(is_keyword)).then_some(name)
}

/// Whether what is at that place of a statement is read under a condition only.
fn is_conditional(tokens: &[Token], at: usize) -> bool {
    let before = ["if", "else", "and", "or", "lambda", "for"];
    let behind = ["if", "for"];
    has_word(tokens[..at].iter().rev(), -1, &before) || has_word(tokens[at..].iter(), 1, &behind)
}

/// Whether one of the words is in an expression around: between its commas, and between those of each bracket around it.
fn has_word<'t>(tokens: impl Iterator<Item = &'t Token>, inwards: i32, words: &[&str]) -> bool {
    let (mut depth, mut is_of_expression) = (0, true);
    for token in tokens {
        depth += inwards * depth_of(token);
        if depth < 0 {
            (depth, is_of_expression) = (0, true);
        } else if depth == 0 && *token == Token::Sign(',') {
            is_of_expression = false;
        } else if depth == 0
            && is_of_expression
            && matches!(token, Token::Name(word) if words.contains(&word.as_str()))
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::source::PythonModule;
    use super::*;

    fn found(text: &str) -> String {
        let statements = PythonModule { path: "", text: text.to_owned() }.statements();
        required(&statements).into_iter().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_variable_is_required_if_it_is_always_read() {
        let text = "A = os.environ['A']\nif 'B' in os.environ:\n    B = os.environ['B']\nelse:\n    B = os.environ['C']\n\
                    DATABASES = {\n    'default': {'NAME': os.environ['D'], 'USER': x if y else z},\n}\n\
                    def later():\n    return os.environ['E']\n# os.environ['F']\n\"\"\"os.environ['F']\"\"\"\n\
                    G = (\n    os.environ['G']\n    if 'G' in os.environ\n    else None\n)\n\
                    H = os.environ['H'] if G else 1\nI = DEBUG or os.environ['I']\nJ = f\"a{os.environ['J']}\"\n\
                    K = os.environ['K'] or 1\nL = [int(os.environ['L']) for x in y]\nM = os.getenv('M')\n\
                    N = lambda: os.environ['N']\nos.environ['O'] = 'a'\nO = os.environ['O']\n\
                    os.environ.setdefault('P', 'a')\nP = environ['P']\nQ = os.environ.get('Q')\n\
                    if 'R' not in os.environ:\n    raise SystemExit\nR = os.environ['R'].split(',')\n";
        assert_eq!(found(text), "A D J K");
    }

    #[test]
    fn variables_of_django_environ_are_read() {
        let text = "env = environ.Env(DEBUG=(bool, False), PORT=int)\n\
                    A = env('A')\nB = env.str('B', multiline=True)\nC = env.bool('C', default=False)\nD = env('D', default=None)\n\
                    E = env.list('E', None)\nDEBUG = env('DEBUG')\nPORT = env('PORT')\nF = env('F') if DEBUG else None\n\
                    DATABASES = {'default': env.db(), 'other': env.db('OTHER_URL')}\nCACHES = {'default': env.cache(default='x')}\n\
                    env.read_env('.env')\nG = env(name)\nH = other.env('H')\nI = env('I', **options)\n";
        assert_eq!(found(text), "A B DATABASE_URL OTHER_URL PORT");
        assert_eq!(found("env = Env()\nenv.prefix = 'SITE_'\nA = env('A')\n"), "");
        assert_eq!(found("def env(name):\n    return os.environ.get(name)\nA = env('A')\n"), "");
    }

    #[test]
    fn variables_of_decouple_are_read() {
        let text = "from decouple import Csv, config\nA = config('A')\nB = config('B', cast=Csv())\nC = config('C', default='x')\n\
                    D = config('D', '')\n";
        assert_eq!(found(text), "A B");
        assert_eq!(found("from decouple import config as env\nA = env('A')\n"), "A");
        assert_eq!(found("from decouple import (\n    config,\n    Csv,\n)\nA = config('A')\n"), "A");
        assert_eq!(found("import decouple\nA = decouple.config('A')\n"), "A");
        assert_eq!(found("A = config('A')\n"), "");
    }
}
