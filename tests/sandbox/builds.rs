//! What has to be possible: compilers, linkers and the tools that build scripts use.

use crate::skip::skip;
use kiln::sandbox::Access;

use crate::support::{Place, Run, isolations, mount};

fn succeeds(
    isolation: kiln::sandbox::Isolation,
    place: &Place,
    script: &str,
    mounts: Vec<kiln::sandbox::Mount>,
) {
    let mut run = Run::program(isolation, place, "/bin/sh", &["-euxc", script]);
    run.mounts.extend(mounts);
    let tmp = match isolation {
        kiln::sandbox::Isolation::Full => "/tmp".to_owned(),
        kiln::sandbox::Isolation::Landlock => place.path("tmp"),
    };
    run.env.push(("TMPDIR".into(), tmp.into()));
    let output = run.output();
    assert!(
        output.outcome.success(),
        "{isolation:?}: {:?}\n{}{}",
        output.outcome,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn c_programs_can_be_built_and_run() {
    for isolation in isolations() {
        let place = Place::new();
        std::fs::write(
            place.path("input/part.c"),
            "int part(void) { return 42; }\n",
        )
        .unwrap();
        std::fs::write(
            place.path("input/main.c"),
            "#include <stdio.h>\n#include <pthread.h>\nint part(void);\n\
             static void *f(void *p) { return p; }\n\
             int main(void) { pthread_t t; pthread_create(&t, 0, f, 0); pthread_join(t, 0); printf(\"%d\\n\", part()); }\n",
        )
        .unwrap();
        let script = "
            in=../input
            cc -O2 -g -c $in/part.c -o part.o
            ar rcs libpart.a part.o
            ranlib libpart.a
            cc -pthread $in/main.c -L. -lpart -o main
            test \"$(./main)\" = 42
            cc -shared -fPIC -o libpart.so part.o
            install -m 755 main installed
            cp -p main copied
            cp -a copied copied-all
            touch -d 2001-01-01 copied
            chmod 0644 copied && chmod +x copied
            ln -s main link && ln main hard
            mkdir -p a/b/c && mv main a/b/c/ && rm -r a
            printf 'all: x y\\nx y:\\n\\techo $@ > $@\\n' > Makefile
            make -j4 && test -f x && test -f y
            mkfifo pipe
            (echo through > pipe) & test \"$(cat pipe)\" = through
            tar cf all.tar Makefile copied && mkdir t && tar xf all.tar -C t
            sed -i s/all/other/ Makefile && grep -q other Makefile
            find . -type f | sort | xargs ls -la > /dev/null
            mktemp
        ";
        succeeds(isolation, &place, script, Vec::new());
    }
}

#[test]
fn rust_programs_can_be_built_and_run() {
    let sysroot = std::process::Command::new("rustc")
        .args(["--print", "sysroot"])
        .output();
    let Ok(sysroot) = sysroot else {
        skip("there is no rustc");
        return;
    };
    let sysroot = String::from_utf8(sysroot.stdout).unwrap().trim().to_owned();
    let reachable = std::process::Command::new(format!("{sysroot}/bin/rustc"))
        .arg("-vV")
        .output();
    if sysroot.is_empty() || !reachable.is_ok_and(|output| output.status.success()) {
        skip("this user cannot run rustc");
        return;
    }
    for isolation in isolations() {
        let place = Place::new();
        std::fs::write(place.path("input/part.rs"), "pub fn part() -> u32 { 42 }\n").unwrap();
        std::fs::write(
            place.path("input/mac.rs"),
            "extern crate proc_macro;\n#[proc_macro] pub fn answer(_: proc_macro::TokenStream) -> proc_macro::TokenStream { \"42\".parse().unwrap() }\n",
        )
        .unwrap();
        std::fs::write(
            place.path("input/main.rs"),
            "fn main() { \
               let t = std::thread::spawn(part::part).join().unwrap(); \
               assert_eq!(t, mac::answer!()); \
               let out = std::process::Command::new(\"/bin/echo\").arg(\"hello\").output().unwrap(); \
               assert_eq!(out.stdout, b\"hello\\n\"); \
               assert!(std::net::TcpStream::connect(\"127.0.0.1:80\").is_err()); \
               std::fs::copy(\"main\", \"copy\").unwrap(); \
               let _: std::collections::HashMap<u8, u8> = Default::default(); \
               assert!(std::panic::catch_unwind(|| panic!(\"caught\")).is_err()); \
               println!(\"{:?}\", std::thread::available_parallelism()); \
             }\n",
        )
        .unwrap();
        let script = format!(
            "
            in=../input
            rustc=\"{sysroot}/bin/rustc --edition=2021\"
            $rustc --crate-type=lib -O --emit=metadata,link,dep-info --out-dir . $in/part.rs
            $rustc --crate-type=proc-macro --out-dir . $in/mac.rs
            $rustc -C opt-level=3 -C codegen-units=4 -L. --extern part=libpart.rlib --extern mac=libmac.so $in/main.rs
            ./main
            $rustc -C incremental=incremental -L. --extern part=libpart.rlib --extern mac=libmac.so $in/main.rs
            $rustc -C lto=fat -C opt-level=1 -L. --extern part=libpart.rlib --extern mac=libmac.so $in/main.rs
            strip main && ./main
            "
        );
        succeeds(
            isolation,
            &place,
            &script,
            vec![mount(&sysroot, Access::Read)],
        );
    }
}

#[test]
fn a_jobserver_can_be_shared() {
    for isolation in isolations() {
        let place = Place::new();
        let (read, write) = nix::unistd::pipe().unwrap();
        nix::unistd::write(&write, b"++").unwrap();
        std::fs::write(
            place.path("input/Makefile"),
            "all: a b c\na b c:\n\ttouch $@\n",
        )
        .unwrap();
        let mut run = Run::program(
            isolation,
            &place,
            "/usr/bin/make",
            &["-f", "../input/Makefile"],
        );
        run.env
            .push(("MAKEFLAGS".into(), " -j --jobserver-auth=3,4".into()));
        run.descriptors = vec![(read, 3), (write.try_clone().unwrap(), 4)];
        let output = run.output();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.outcome.success(), "{isolation:?} {said}");
        assert!(!said.contains("jobserver"), "{isolation:?} {said}");
    }
}
